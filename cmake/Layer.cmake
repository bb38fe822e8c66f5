# gallocy_layer(NAME [USES layer...] [LINKS library...])
#
# One static library gallocy_NAME from the *.cc of the current folder, a unit-test program NAME_test from its
# *_test.cc, and a link test: a program made of nothing but this layer's objects and the layers it declares. An
# include or call that points up the layer map has no definition there and fails the link.
function(gallocy_layer name)
  cmake_parse_arguments(arg "" "" "USES;LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  file(GLOB tests CONFIGURE_DEPENDS *_test.cc)
  list(REMOVE_ITEM sources ${tests} "")
  list(TRANSFORM arg_USES PREPEND gallocy_ OUTPUT_VARIABLE uses)

  add_library(gallocy_${name} STATIC ${sources})
  target_include_directories(gallocy_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                                                    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_link_libraries(gallocy_${name} PUBLIC ${uses} ${arg_LINKS} PRIVATE $<BUILD_INTERFACE:gallocy_options>)
  set_property(GLOBAL APPEND PROPERTY GALLOCY_LAYERS gallocy_${name})

  if(GALLOCY_TESTS)
    add_executable(${name}_link_test ${PROJECT_SOURCE_DIR}/cmake/link_test.cc)
    target_link_libraries(${name}_link_test PRIVATE -Wl,--whole-archive gallocy_${name} -Wl,--no-whole-archive
                                                    gallocy_options)
    add_test(NAME link.${name} COMMAND ${name}_link_test)
    if(tests)
      add_executable(${name}_test ${tests})
      target_link_libraries(${name}_test PRIVATE gallocy_${name} gallocy_options GTest::gmock GTest::gtest_main)
      gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
    endif()
  endif()
endfunction()
