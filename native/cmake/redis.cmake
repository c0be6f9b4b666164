# The part that speaks with Redis servers: built where hiredis is, and loaded by libdovetail when a
# store on a server is opened. Nothing else is linked with hiredis.
option(DOVETAIL_REDIS "Build the part that reaches Redis, where hiredis is found" ON)
find_path(HIREDIS_INCLUDE hiredis/hiredis.h)
find_library(HIREDIS_LIBRARY hiredis)
if(DOVETAIL_REDIS AND HIREDIS_INCLUDE AND HIREDIS_LIBRARY)
  add_library(dovetail_redis MODULE redis/wire.cpp)
  target_include_directories(dovetail_redis PRIVATE src)
  target_include_directories(dovetail_redis SYSTEM PRIVATE "${HIREDIS_INCLUDE}")
  target_compile_options(dovetail_redis PRIVATE -Wall -Wextra -Werror)
  if(DEFINED SKBUILD_PROJECT_VERSION_FULL)
    target_compile_definitions(dovetail_redis PRIVATE "DOVETAIL_VERSION=\"${SKBUILD_PROJECT_VERSION_FULL}\"")
  endif()
  target_link_libraries(dovetail_redis PRIVATE "${HIREDIS_LIBRARY}")
  # Loaded from beside libdovetail, also where nothing was installed.
  add_dependencies(dovetail dovetail_redis)
else()
  message(STATUS "Without hiredis: stores on Redis are reached from Python only")
endif()
