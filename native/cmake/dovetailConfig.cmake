# find_package(dovetail CONFIG) with -Ddovetail_DIR=$(python -m dovetail.native --cmake-dir); then
# target_link_libraries(solver PRIVATE dovetail::dovetail), from C, C++ or Fortran.
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
unset(_dovetail_libraries)
unset(_dovetail_home)
