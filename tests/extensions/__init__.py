"""Extensions as somebody outside of the package writes them, by CONTRIBUTING's checklists and public names alone."""
