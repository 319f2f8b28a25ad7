# The command uses the public header and the shared library only; jansson writes its JSON.
file(GLOB CLI_SOURCES CONFIGURE_DEPENDS src/cli/*.c)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
find_package(Threads REQUIRED)
set(REPORT_PAGE ${CMAKE_CURRENT_BINARY_DIR}/report_template.c)
set(REPORT_PARTS ${CMAKE_SOURCE_DIR}/src/cli/report)
add_custom_command(OUTPUT ${REPORT_PAGE} VERBATIM
  DEPENDS cmake/embed.cmake ${REPORT_PARTS}/page.html ${REPORT_PARTS}/page.css ${REPORT_PARTS}/page.js
  COMMAND ${CMAKE_COMMAND} -DFOLDER=${REPORT_PARTS} -DOUT=${REPORT_PAGE} -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake)
add_executable(blemish ${CLI_SOURCES} ${REPORT_PAGE})
target_link_libraries(blemish PRIVATE options library PkgConfig::JANSSON Threads::Threads m)
set_target_properties(blemish PROPERTIES
  INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}") # the installed command finds its library under any prefix
install(TARGETS blemish)

# The command writes its man pages from the text of its --help, so a cross build goes without.
if(NOT CMAKE_CROSSCOMPILING)
  foreach(command "" train eval predict info data synth weights bench protocol audit calibrate quantize compare roi)
    string(REGEX REPLACE "(.+)" "-\\1" suffix "${command}")
    set(page ${CMAKE_CURRENT_BINARY_DIR}/man/blemish${suffix}.1)
    add_custom_command(OUTPUT ${page} DEPENDS blemish VERBATIM
      COMMAND sh -c "mkdir -p man && ./blemish man ${command} > $1.new && mv $1.new $1" sh ${page}
      WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    list(APPEND MAN_PAGES ${page})
  endforeach()
  add_custom_target(man ALL DEPENDS ${MAN_PAGES})
  install(FILES ${MAN_PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
