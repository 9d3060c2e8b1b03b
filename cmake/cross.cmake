# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
# Another machine, by Debian's cross compiler and the emulator that runs its programs; VH_MACHINE names it. cmocka and libffi for it
# are unpacked privately, so that no foreign architecture has to be set up for apt.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES VH_MACHINE)
if(VH_MACHINE STREQUAL "aarch64")
  set(debian arm64)
elseif(VH_MACHINE STREQUAL "s390x")
  set(debian s390x)
else()
  message(FATAL_ERROR "VH_MACHINE is '${VH_MACHINE}'; it can be aarch64 or s390x")
endif()
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${VH_MACHINE})
set(CMAKE_C_COMPILER ${VH_MACHINE}-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-${VH_MACHINE} -L /usr/${VH_MACHINE}-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
get_property(trying GLOBAL PROPERTY IN_TRY_COMPILE)
if(NOT trying)
  execute_process(COMMAND /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/../tests/lab/suite.py --arch ${debian} bookworm
                          libcmocka0 libcmocka-dev libffi8 libffi-dev
                  OUTPUT_VARIABLE packages OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(CMAKE_C_FLAGS_INIT "-isystem ${packages}/usr/include/${VH_MACHINE}-linux-gnu")
  set(CMAKE_FIND_ROOT_PATH /usr/${VH_MACHINE}-linux-gnu ${packages})
  set(ENV{PKG_CONFIG_SYSROOT_DIR} ${packages})
  set(ENV{PKG_CONFIG_LIBDIR} ${packages}/usr/lib/${VH_MACHINE}-linux-gnu/pkgconfig)
endif()
