# find_package(dovetail CONFIG) with -Ddovetail_DIR=$(python -m dovetail.native --cmake-dir); then
# target_link_libraries(solver PRIVATE dovetail::dovetail) from C and C++, dovetail::fortran from
# Fortran.
get_filename_component(_dovetail_libraries "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
get_filename_component(_dovetail_home "${_dovetail_libraries}/.." ABSOLUTE)
if(NOT TARGET dovetail::dovetail)
  add_library(dovetail::dovetail SHARED IMPORTED)
  set_target_properties(
    dovetail::dovetail
    PROPERTIES IMPORTED_LOCATION "${_dovetail_libraries}/libdovetail.so.1"
               IMPORTED_SONAME libdovetail.so.1
               INTERFACE_INCLUDE_DIRECTORIES "${_dovetail_home}/include")
endif()
# Module files are a compiler's own, so the module for Fortran is built with the project that uses
# it: target_link_libraries(solver PRIVATE dovetail::fortran), in a project with language Fortran.
get_property(_dovetail_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
if("Fortran" IN_LIST _dovetail_languages AND NOT TARGET dovetail::fortran)
  enable_language(C)
  file(STRINGS "${_dovetail_home}/fortran/sources.txt" _dovetail_sources)
  list(TRANSFORM _dovetail_sources PREPEND "${_dovetail_home}/fortran/")
  add_library(dovetail_fortran STATIC EXCLUDE_FROM_ALL ${_dovetail_sources})
  add_library(dovetail::fortran ALIAS dovetail_fortran)
  set(_dovetail_modules "${CMAKE_CURRENT_BINARY_DIR}/dovetail_fortran_modules")
  file(MAKE_DIRECTORY "${_dovetail_modules}")
  set_target_properties(dovetail_fortran PROPERTIES Fortran_MODULE_DIRECTORY "${_dovetail_modules}"
                                                    POSITION_INDEPENDENT_CODE ON)
  target_include_directories(dovetail_fortran INTERFACE "${_dovetail_modules}")
  target_link_libraries(dovetail_fortran PUBLIC dovetail::dovetail)
  unset(_dovetail_sources)
  unset(_dovetail_modules)
endif()
unset(_dovetail_languages)
unset(_dovetail_libraries)
unset(_dovetail_home)
