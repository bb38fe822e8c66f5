// ByteWriter and ByteReader: the variable-length parts of messages, which are not fixed structs. Integers are
// little-endian; a text is its length (16 bits) and its bytes.
//
// A reader never fails loudly: after the first read past the end every read gives zero or nothing, and ok() is false.
// So a decoder reads all fields, then asks once; only a loop over a count that came from outside must look at ok().
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace gallocy::wire {

using Bytes = std::vector<std::byte>;

template <typename T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}

  template <Plain T>
  void put(const T& value) {
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  void put_bytes(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void put_text(std::string_view text);  // at most 65 535 bytes

 private:
  Bytes& out_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }  // everything was read, and nothing more
  std::size_t left() const { return rest_.size(); }

  template <Plain T>
  T get() {
    T value{};
    const auto bytes = get_bytes(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::span<const std::byte> get_bytes(std::size_t count);  // empty when there are fewer
  bool get_flag();  // a byte, 0 or 1; any other ends the reading as the end does
  std::string get_text();

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace gallocy::wire
