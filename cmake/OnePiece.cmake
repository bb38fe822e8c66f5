# gallocy_one_piece(TARGET): links it without shared libraries, so that a host needs this one file and nothing else, and
# the distribution's version there does not matter. Where that is not possible it stays as it is.
#
# gallocy_fmt and gallocy_tls stand for libraries that differ between the two ways.
option(GALLOCY_ONE_PIECE "Link the gallocy command without shared libraries" ON)
find_library(GALLOCY_STATIC_SSL libssl.a)
find_library(GALLOCY_STATIC_CRYPTO libcrypto.a)
if(GALLOCY_SANITIZE OR GALLOCY_FUZZ OR NOT GALLOCY_STATIC_SSL OR NOT GALLOCY_STATIC_CRYPTO)
  set(GALLOCY_ONE_PIECE OFF)
endif()

set(one_piece $<BOOL:$<TARGET_PROPERTY:GALLOCY_IN_ONE_PIECE>>)
add_library(gallocy_tls INTERFACE)
target_include_directories(gallocy_tls INTERFACE ${OPENSSL_INCLUDE_DIR})
target_link_libraries(gallocy_tls INTERFACE $<IF:${one_piece},${GALLOCY_STATIC_SSL},OpenSSL::SSL>
                                            $<IF:${one_piece},${GALLOCY_STATIC_CRYPTO},OpenSSL::Crypto>)
# Debian has no archive of fmt.
add_library(gallocy_fmt_archive STATIC EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/cmake/fmt_archive.cc)
target_link_libraries(gallocy_fmt_archive PUBLIC $<BUILD_INTERFACE:gallocy_options>)
add_library(gallocy_fmt INTERFACE)
target_link_libraries(gallocy_fmt INTERFACE $<IF:${one_piece},gallocy_fmt_archive,fmt::fmt>)

function(gallocy_one_piece target)
  if(NOT GALLOCY_ONE_PIECE)
    return()
  endif()
  set_target_properties(${target} PROPERTIES GALLOCY_IN_ONE_PIECE ON)
  target_link_options(${target} PRIVATE -static-pie)
endfunction()
