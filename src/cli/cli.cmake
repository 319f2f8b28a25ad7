# The command uses the public header and the shared library only; jansson writes its JSON.
file(GLOB CLI_SOURCES CONFIGURE_DEPENDS src/cli/*.c)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
find_package(Threads REQUIRED)
add_executable(blemish ${CLI_SOURCES})
target_link_libraries(blemish PRIVATE options library PkgConfig::JANSSON Threads::Threads m)
set_target_properties(blemish PROPERTIES
  INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}") # the installed command finds its library under any prefix
install(TARGETS blemish)

# The command writes its man pages from the text of its --help, so a cross build goes without.
if(NOT CMAKE_CROSSCOMPILING)
  foreach(command "" train eval predict info data synth weights bench protocol audit calibrate)
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
