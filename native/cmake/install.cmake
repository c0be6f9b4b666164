# Where the library for other languages goes: beside the Python package, or under a prefix of its own.
if(SKBUILD)
  set(DOVETAIL_HOME dovetail/native/)
endif()
if(DEFINED SKBUILD_PROJECT_VERSION)
  set(DOVETAIL_PACKAGE_VERSION "${SKBUILD_PROJECT_VERSION}")
else()
  file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/../pyproject.toml" line REGEX "^version = ")
  string(REGEX REPLACE "^version = \"(.*)\"$" "\\1" DOVETAIL_PACKAGE_VERSION "${line}")
endif()
set(DOVETAIL_LIBRARIES "${DOVETAIL_HOME}lib")

# A wheel holds no links: the linker finds the library by a line of text instead.
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/linker/libdovetail.so" "INPUT(-l:libdovetail.so.1)\n")
include(CMakePackageConfigHelpers)
write_basic_package_version_file(
  "${CMAKE_CURRENT_BINARY_DIR}/dovetailConfigVersion.cmake"
  VERSION "${DOVETAIL_PACKAGE_VERSION}" COMPATIBILITY SameMajorVersion)
# In the order in which a compiler takes them.
file(STRINGS fortran/sources.txt DOVETAIL_FORTRAN)
list(TRANSFORM DOVETAIL_FORTRAN PREPEND "\${fortrandir}/")
string(REPLACE ";" " " DOVETAIL_FORTRAN "${DOVETAIL_FORTRAN}")
configure_file(cmake/dovetail.pc.in dovetail.pc @ONLY)

install(DIRECTORY include/dovetail DESTINATION "${DOVETAIL_HOME}include")
install(FILES "$<TARGET_FILE:dovetail>" DESTINATION "${DOVETAIL_LIBRARIES}")
if(TARGET dovetail_redis)
  install(TARGETS dovetail_redis LIBRARY DESTINATION "${DOVETAIL_LIBRARIES}")
endif()
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linker/libdovetail.so" DESTINATION "${DOVETAIL_LIBRARIES}")
install(FILES cmake/dovetailConfig.cmake "${CMAKE_CURRENT_BINARY_DIR}/dovetailConfigVersion.cmake"
        DESTINATION "${DOVETAIL_LIBRARIES}/cmake/dovetail")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/dovetail.pc" DESTINATION "${DOVETAIL_LIBRARIES}/pkgconfig")
install(DIRECTORY fortran/ DESTINATION "${DOVETAIL_HOME}fortran")
install(DIRECTORY torchscript/ DESTINATION "${DOVETAIL_HOME}torchscript")
