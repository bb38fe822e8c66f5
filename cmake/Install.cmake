# The library as programs link it: libgallocy, made of the objects of all layers, as an archive (gallocy::gallocy) and as
# a shared object (gallocy::shared), with headers, a CMake package and a pkg-config file.
#
# The archive is the default: nodes compare the build-ids of their programs before they send each other function
# pointers, and with the archive inside the program its build-id speaks for the library too.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(layers GLOBAL PROPERTY GALLOCY_LAYERS)
set(layer_objects ${layers})
list(TRANSFORM layer_objects PREPEND "$<TARGET_OBJECTS:")
list(TRANSFORM layer_objects APPEND ">")

foreach(kind static shared)
  string(TOUPPER ${kind} KIND)
  add_library(gallocy_${kind} ${KIND} ${layer_objects})
  target_include_directories(gallocy_${kind} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(gallocy_${kind} PUBLIC cxx_std_20)
  target_link_libraries(gallocy_${kind} PUBLIC tl::expected fmt::fmt OpenSSL::SSL OpenSSL::Crypto Threads::Threads
                                        PRIVATE $<BUILD_INTERFACE:gallocy_options>)
  set_target_properties(gallocy_${kind} PROPERTIES OUTPUT_NAME gallocy LINKER_LANGUAGE CXX
                        ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
                        LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
endforeach()
set_target_properties(gallocy_static PROPERTIES EXPORT_NAME gallocy)
set_target_properties(gallocy_shared PROPERTIES EXPORT_NAME shared VERSION ${PROJECT_VERSION}
                                                SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
add_library(gallocy::gallocy ALIAS gallocy_static)
add_library(gallocy::shared ALIAS gallocy_shared)

install(TARGETS gallocy_static gallocy_shared EXPORT gallocyTargets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/gallocy)
install(EXPORT gallocyTargets NAMESPACE gallocy:: DESTINATION ${package_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/gallocyConfig.cmake.in gallocyConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
# Before 1.0 a minor version may change the interface and the protocol.
write_basic_package_version_file(gallocyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gallocyConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/gallocyConfigVersion.cmake
        DESTINATION ${package_folder})
# Relative, so that the package works from whatever prefix it was installed to.
file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/gallocy.pc.in gallocy.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gallocy.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The unit that runs `gallocy node`.
configure_file(${PROJECT_SOURCE_DIR}/packaging/gallocy-node.service.in gallocy-node.service @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gallocy-node.service DESTINATION lib/systemd/system)
if(GALLOCY_TESTS)
  find_program(SYSTEMD_ANALYZE systemd-analyze)
  if(SYSTEMD_ANALYZE)
    add_test(NAME install.unit COMMAND ${PROJECT_SOURCE_DIR}/packaging/check_unit.sh ${SYSTEMD_ANALYZE}
                                       ${CMAKE_CURRENT_BINARY_DIR}/gallocy-node.service $<TARGET_FILE:gallocy_main>)
    set_tests_properties(install.unit PROPERTIES TIMEOUT 60)
  endif()
endif()

# Installs into the build tree and builds examples/consumer against that, as a user would. Not with sanitizers: their
# runtime would have to be in the consumer too.
if(GALLOCY_TESTS AND NOT GALLOCY_SANITIZE AND NOT GALLOCY_FUZZ AND NOT CMAKE_CXX_CLANG_TIDY)
  add_test(NAME install.consumer COMMAND ${PROJECT_SOURCE_DIR}/examples/consumer/check.sh ${PROJECT_BINARY_DIR}
                                         ${CMAKE_INSTALL_LIBDIR} ${CMAKE_CXX_COMPILER})
  set_tests_properties(install.consumer PROPERTIES LABELS system RUN_SERIAL TRUE TIMEOUT 180)
  find_program(CLANG_FORMAT clang-format)
  if(CLANG_FORMAT)
    add_test(NAME style.format COMMAND ${PROJECT_SOURCE_DIR}/scripts/format --check)
  endif()
endif()
