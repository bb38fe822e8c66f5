// Several meshes in one process, and a sink that records. For the tests of this layer.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "net/mesh.h"

namespace gallocy::net::testing {

using namespace std::chrono_literals;

inline constexpr std::uint16_t kTestType = 0x6f0;

// Waits until `holds`, at most ten seconds.
inline bool eventually(const std::function<bool()>& holds) {
  for (const auto end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end;
       std::this_thread::sleep_for(200us))
    if (holds()) return true;
  return holds();
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

struct Arrival {
  NodeId from{};
  wire::FrameHeader header;
  std::string body, payload;
};

// Keeps what arrives; hooks may act on the poller's thread.
class Recorder : public FrameSink {
 public:
  std::size_t payload_target(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                             std::span<iovec, 64> target) override {
    return place ? place(from, header, body, target) : 0;
  }
  void frame_arrived(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                     std::span<const std::byte> payload) override {
    if (arrived) arrived(from, header, body, payload);
    if (keep) {
      std::lock_guard lock(mu);
      arrivals.push_back({from, header, text(body), text(payload)});
    }
    frames.fetch_add(1);
  }
  void peer_down(NodeId peer, std::string_view reason) override {
    std::lock_guard lock(mu);
    downs.emplace_back(peer, std::string(reason));
  }

  static std::string text(std::span<const std::byte> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  std::size_t down_count() {
    std::lock_guard lock(mu);
    return downs.size();
  }

  // Set before frames can arrive.
  bool keep = true;
  std::function<std::size_t(NodeId, const wire::FrameHeader&, std::span<const std::byte>, std::span<iovec, 64>)> place;
  std::function<void(NodeId, const wire::FrameHeader&, std::span<const std::byte>, std::span<const std::byte>)> arrived;

  std::mutex mu;
  std::vector<Arrival> arrivals;
  std::vector<std::pair<NodeId, std::string>> downs;
  std::atomic<std::size_t> frames{0};
};

// Calls serve() until it is destroyed.
class LoopThread {
 public:
  LoopThread(Mesh& mesh, FrameSink& sink)
      : mesh_(mesh), thread_([this, &sink] {
          while (!stop_) mesh_.serve(sink, 60s);  // a lost wake-up must not be healed by a time-out
        }) {}
  ~LoopThread() {
    stop_ = true;
    mesh_.wake();
    thread_.join();
  }

 private:
  Mesh& mesh_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

inline MeshOptions test_options(std::uint16_t self, std::uint16_t nodes) {
  MeshOptions options;
  options.self = NodeId{self};
  options.nodes = nodes;
  options.secret = "a secret of the tests";
  options.build_id = "build 1";
  options.peer_timeout = 20s;  // sanitizers and a busy machine are slow
  return options;
}

// Connects all meshes, each on its own thread, as nodes do; the results by node.
inline std::vector<Result<>> connect_all(std::vector<std::unique_ptr<Mesh>>& meshes) {
  std::vector<PeerAddress> addresses;
  for (auto& mesh : meshes) addresses.push_back(mesh->address());
  std::vector<Result<>> results(meshes.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < meshes.size(); ++i)
    threads.emplace_back([&, i] { results[i] = meshes[i]->connect(addresses); });
  for (auto& thread : threads) thread.join();
  return results;
}

struct Cluster {
  explicit Cluster(std::uint16_t nodes, const std::function<void(MeshOptions&)>& adjust = {}) : sinks(nodes) {
    for (std::uint16_t i = 0; i < nodes; ++i) {
      MeshOptions options = test_options(i, nodes);
      if (adjust) adjust(options);
      auto mesh = Mesh::open(options);
      if (!mesh) {
        ADD_FAILURE() << mesh.error().message;
        return;
      }
      meshes.push_back(std::move(*mesh));
    }
    for (const auto& result : connect_all(meshes)) EXPECT_TRUE(result) << result.error().message;
  }
  ~Cluster() { loops.clear(); }

  Mesh& operator[](std::size_t i) { return *meshes[i]; }
  void start_loop(std::size_t i) { loops.push_back(std::make_unique<LoopThread>(*meshes[i], sinks[i])); }
  void start_loops() {
    for (std::size_t i = 0; i < meshes.size(); ++i) start_loop(i);
  }

  std::vector<Recorder> sinks;
  std::vector<std::unique_ptr<Mesh>> meshes;
  std::vector<std::unique_ptr<LoopThread>> loops;
};

inline void send_text(Mesh& mesh, NodeId to, std::string_view body, std::span<const iovec> payload = {},
                      std::uint16_t type = kTestType) {
  std::uint32_t payload_bytes = 0;
  for (const iovec& piece : payload) payload_bytes += static_cast<std::uint32_t>(piece.iov_len);
  mesh.send(to, {.type = type, .body_bytes = static_cast<std::uint32_t>(body.size()), .payload_bytes = payload_bytes},
            bytes_of(body), payload);
}

}  // namespace gallocy::net::testing
