# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
# The manual pages, made from the model of the headers at every build: man/NAME.3, vhctl.1, and share/man as man(1) wants it.
find_package(Python3 3.9 COMPONENTS Interpreter)
if(NOT Python3_FOUND)
  message(FATAL_ERROR "the manual pages are made by Python 3.9 or newer; without them: -DVH_MAN=OFF")
endif()

set(man ${CMAKE_BINARY_DIR}/man)
set(sources ${CMAKE_SOURCE_DIR}/bindings/emit_man.py ${CMAKE_SOURCE_DIR}/abi/libvh.api.json
            ${CMAKE_SOURCE_DIR}/docs/libvh.7.in ${CMAKE_SOURCE_DIR}/examples/null_backend.c
            ${CMAKE_SOURCE_DIR}/docs/vhctl.md)
add_custom_command(OUTPUT ${man}/made COMMAND ${Python3_EXECUTABLE} -B ${sources} ${man}
                   COMMAND ${CMAKE_COMMAND} -E touch ${man}/made
                   DEPENDS ${sources} ${CMAKE_SOURCE_DIR}/bindings/markdown.py
                           ${CMAKE_SOURCE_DIR}/bindings/roff.py COMMENT "Manual pages" VERBATIM)
add_custom_target(man ALL DEPENDS ${man}/made)

file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/man ${man})
foreach(section 1 3 7)
  file(CREATE_LINK ${man} ${CMAKE_BINARY_DIR}/share/man/man${section} SYMBOLIC)
  install(DIRECTORY ${man}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} FILES_MATCHING PATTERN "*.${section}")
endforeach()
