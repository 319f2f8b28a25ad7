# cmake -DFOLDER=src/cli/report -DOUT=FILE.c -P embed.cmake: the report's page with its style sheet and script put in
# place, as the bytes of a C array that ends in a zero.
file(READ ${FOLDER}/page.html page)
file(READ ${FOLDER}/page.css style)
file(READ ${FOLDER}/page.js script)
string(REPLACE "{{style}}" "${style}" page "${page}")
string(REPLACE "{{script}}" "${script}" page "${page}")
file(WRITE ${OUT}.page "${page}")
file(READ ${OUT}.page bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT}.new "extern const char report_template[];\nconst char report_template[] = {\n${bytes}0};\n")
file(RENAME ${OUT}.new ${OUT})
