"""Files with integrity checks, and the versions and settings that results were computed with."""
