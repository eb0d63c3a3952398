"""One record, u and y of eight samples, written as people's programs write it: name -> content, and what is noted."""

U = (0.5, 1.25, -0.75, 2.5, 3.125, 0.25, -1.5, 0.875)
Y = (10.5, 11.25, 9.75, 8.5, 7.125, 6.25, 5.5, 4.875)


def rows(line: str, end: str = "\n") -> str:
    """Eight lines: {u} and {y} with decimal points, {U} and {Y} with decimal commas, {k} the number of the row."""
    return "".join(
        line.format(u=u, y=y, U=str(u).replace(".", ","), Y=str(y).replace(".", ","), k=k) + end
        for k, (u, y) in enumerate(zip(U, Y, strict=True))
    )


LABVIEW = (
    "LabVIEW Measurement\t\nWriter_Version\t2\nSeparator\tTab\nDecimal_Separator\t,\nTime\t10:00:00,12\n"
    "***End_of_Header***\t\n\t\nChannels\t2\t\nSamples\t8\t8\t\nDate\t2021/11/05\t2021/11/05\t\nX0\t0,0E+0\t0,0E+0\t\n"
    "***End_of_Header***\t\t\t\nX_Value\tu\ty\tComment\n"
)
# Content, and words of the notes in their order; "" for none.
FILES: dict[str, tuple[str | bytes, str]] = {
    "plain": ("u,y\n" + rows("{u},{y}"), ""),
    "separators at the end": ("u,y,\n" + rows("{u},{y},"), "separators at the end of lines ignored"),
    "separators at the end of rows": ("u,y\n" + rows("{u},{y},,"), "separators at the end"),
    "a separator at the end of the header": ("u,y,\n" + rows("{u},{y}"), ""),
    "junk at the end": ("u;y,,,\n" + rows("{U};{Y};;,"), "separators at the end.*semicolon.*decimal commas"),
    "index of a data frame": (",u,y\n" + rows("{k},{u},{y}"), "1 column without a name: 1"),
    "names of rows": ('"u" "y"\n' + rows('"{k}" {u} {y}'), "1 column without a name: 1.*blanks"),
    "words in other columns": ("run,u,y\n" + rows("run {k},{u},{y}"), ""),
    "repeated names in other columns": ("a,a,u,y\n" + rows("1,1,{u},{y}"), ""),
    "aligned by blanks": ("   u        y\n" + rows("  {u:8.3f}   {y:8.3f} "), "blanks between cells"),
    "names with blanks": ("  u        y     run no\n" + rows("  {u:8.3f}   {y:8.3f}   {k}"), "blanks between cells"),
    "tab at the end": ("u\ty\t\n" + rows("{u}\t{y}\t"), "separators at the end"),
    "exponents of Fortran": ("u y\n" + rows("{u}D+00 {y}d0"), "blanks"),
    "semicolons": ("u;y\n" + rows("{U};{Y}"), "semicolon between cells; decimal commas"),
    "tabs and decimal commas": ("u\ty\n" + rows("{U}\t{Y}"), "decimal commas"),
    "blanks and decimal commas": ("u y\n" + rows("{U} {Y}"), "blanks between cells; decimal commas"),
    "quoted decimal commas": ("u,y\n" + rows('"{U}","{Y}"'), "decimal commas"),
    "quoted numbers": ('"u","y"\n' + rows('"{u}", "{y}"'), ""),
    "quoted line end": ('"u",y,"note\n(none)"\n' + rows("{u},{y},1"), ""),
    "bars": ("|u|y|\n|---|---|\n" + rows("|{u}|{y}|"), "1 line between header and data.*bar between cells"),
    "header of another delimiter": ("u,y\n" + rows("{u} {y}"), "blanks between cells"),
    "Excel": (
        "\ufeffsep=;\r\nu;y\r\n" + rows("{U};{Y}", "\r\n") + ";\r\n;\r\n",
        "semicolon between cells; decimal commas",
    ),
    "Windows": ("u,y\r\n" + rows("{u},{y}", "\r\n") + "\r\n", ""),
    "old Macintosh": ("u,y\r" + rows("{u},{y}", "\r"), ""),
    "line ends converted twice": ("u,y\r\r\n" + rows("{u},{y}", "\r\r\n"), ""),
    "latin-1": (("Größe,u,y\n" + rows("1,{u},{y}")).encode("latin-1"), "not UTF-8, so read as cp1252"),
    "UTF-16": (("u,y\n" + rows("{u},{y}")).encode("utf-16"), "encoding utf-16"),
    "UTF-16 without a mark": (("u,y\n" + rows("{u},{y}")).encode("utf-16-le"), "encoding utf-16-le"),
    "units": ("n,u,y\ns,V,mm\n" + rows("0.{k},{u},{y}"), "1 line between header and data"),
    "units in brackets": ("u;y\n[V];[mm]\n" + rows("{u};{y}"), "1 line between header and data"),
    "unknown units": ("u;y\nVolt DC;Grad C\n" + rows("{u};{y}"), "1 line between header and data"),
    "preamble": (
        "Rig 7, measured by Smith\nDate: 2021-11-05\nu,y\n" + rows("{u},{y}"),
        "2 lines above the header skipped",
    ),
    "preamble, blank line, units": (
        "Rig 7\nSampling rate: 100 Hz\n\nu,y\nV,mm\n" + rows("{u},{y}"),
        "1 blank line.*2 lines above the header.*1 line between header and data",
    ),
    "preamble of a spreadsheet": ("Rig 7,\nRate,100\n,\nu,y\n" + rows("{u},{y}"), "3 lines above the header"),
    "number of rows": ("8 2\nu y\n" + rows("{u} {y}"), "1 line above the header"),
    "LabVIEW": (LABVIEW + rows("0,00{k}\t{U}\t{Y}"), "12 lines above.*no cells below Comment.*decimal commas"),
    "header as a comment": ("# made by numpy\n# u,y\n" + rows("{u},{y}"), "names taken from the comment"),
    "header as MATLAB's comment": ("% u y\n" + rows("{u} {y}"), "names taken from the comment.*blanks"),
    "comments": ("// rig 7\nu,y\n% begin\n" + rows("{u},{y}") + "// end\n", ""),
    "blank lines": ("u,y\n\n" + rows("{u},{y}") + "\n  \n,\n", "blank line.*left out, the first is line"),
    "German spreadsheet": (
        "u;y\n#WERT!;1\n#BEZUG!;1\n#ZAHL!;1\n" + rows("{U};{Y}"),
        "read as missing: '#WERT!' .1., '#BEZUG!' .1., '#ZAHL!' .1",
    ),
    "missing": ("u,y\nNA,1\nN/A,null\n#N/A,?\n" + rows("{u},{y}"), "read as missing: 'NA' .1.*'N/A' .1"),
    "true and false": ("u,y\nTrue,1\nFalse,2\n" + rows("{u},{y}"), ""),
    "cut short": ("u,y\n" + rows("{u},{y}") + "1.5", "the last line, 10, is cut short and left out"),
    "values without a name": ("u,y,\n" + rows("{u},{y},{k}"), "1 column without a name: 3"),
    "words at the end": ("u,y\n" + rows("{u},{y}") + "END\n", "1 line of words below the data left out"),
    "zero bytes at the end": ("u,y\n" + rows("{u},{y}") + 50 * "\0", "zero bytes at the end ignored"),
    "numbers as text": ("u,y\n" + rows('="{u}",="{y}"'), ""),
    "codes": ("u,y\n-999,1\n-999,1\n-999,1\n" + rows("{y},{u}") + rows("{u},{y}"), "'u': -999 occurs 3 times"),
}
# Content, note, and the sampling interval.
TIMED: dict[str, tuple[str, str, float | None]] = {
    "ISO": ("Time,u,y\n" + rows("2021-11-05T00:00:0{k}.5Z,{u},{y}"), "'Time': dates read as seconds", 1.0),
    "slashes": ("date,u,y\n" + rows("2021/11/5 0:0{k},{u},{y}"), "'date': dates read", 60.0),
    "points": ("Date;u;y\n" + rows("1{k}.11.2021;{U};{Y}"), "'Date': dates read", 86400.0),
    "points, two digits": ("Date;u;y\n" + rows("1{k}.11.21;{U};{Y}"), "'Date': dates read as seconds .day", 86400.0),
    "day first": ("date,u,y\n" + rows("1{k}/11/2021,{u},{y}"), "day first", 86400.0),
    "month first": ("date,u,y\n" + rows("11/1{k}/2021,{u},{y}"), "month first", 86400.0),
    "day or month": ("date,u,y\n" + rows("11/0{k}/2021,{u},{y}").replace("11/00/2021", "10/31/2021"), "month", 86400.0),
    "twelve hours": ("Timestamp,u,y\n" + rows("11/5/2021 1:0{k} PM,{u},{y}"), "'Timestamp': dates", 60.0),
    "MATLAB": ("time,u,y\n" + rows("05-Nov-2021 00:00:0{k},{u},{y}"), "'time': dates", 1.0),
    "time of day": ("time,u,y\n" + rows("00:00:0{k},{u},{y}"), "'time': times of day", 1.0),
    "across midnight": ("time,u,y\n" + rows("23:59:5{k},{u},{y}").replace("59:57", "59:57"), "times of day", 1.0),
    "two columns": ("Date;Time;u;y\n" + rows("10/03/2004;1{k}.00.00;{U};{Y}"), "'Date, Time': dates", 3600.0),
    "seconds since 1970": ("timestamp,u,y\n" + rows("163606{k}000,{u},{y}"), "", 1000.0),
    "digits": ("date,u,y\n" + rows("2021111{k},{u},{y}"), "'date': dates read", 86400.0),
    "with a unit": ("Time [s],u,y\n" + rows("0.{k},{u},{y}"), "", 0.1),
    "decimal commas": ("time;u;y\n" + rows("0,{k};{U};{Y}"), "decimal commas", 0.1),
    "index of a data frame": (",u,y\n" + rows("2021-11-05 00:00:0{k},{u},{y}"), "'1': dates", 1.0),
    "words": (
        "time,u,y\n" + rows("early {k},{u},{y}"),
        "'time' ignored, as not all of its cells are times .line 2: 'early 0'",
        None,
    ),
    "the day only": ("date,hour,u,y\n" + rows("2021-11-05,{k},{u},{y}"), "'date' ignored, as its stamps are rep", None),
    "no cell filled": ("time,u,y\n" + rows(",{u},{y}"), "'time' ignored, as not all of its cells are times", None),
    "t with a unit": ("t [s],u,y\n" + rows("0.{k},{u},{y}"), "", 0.1),
    "German": ("Zeit;u;y\n" + rows("0,{k};{U};{Y}"), "decimal commas", 0.1),
    "German, two columns": ("Datum;Uhrzeit;u;y\n" + rows("05.11.2021;1{k}:00;{U};{Y}"), "'Datum, Uhrzeit'", 3600.0),
    "German, one column": ("Datum/Uhrzeit;u;y\n" + rows("1{k}.11.2021 07:30;{U};{Y}"), "'Datum/Uhrzeit': da", 86400.0),
    "French": ("Horodatage;u;y\n" + rows("2021-11-05 1{k}:00;{U};{Y}"), "'Horodatage': dates", 3600.0),
    "none": ("t,u,y\n" + rows("{k},{u},{y}"), "", None),
}
