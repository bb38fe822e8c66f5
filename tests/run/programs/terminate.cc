// An exception that leaves a thread ends the program with SIGABRT.
#include <stdexcept>
#include <thread>

int main() {
  std::thread([] { throw std::runtime_error("nobody catches this"); }).join();
  return 0;
}
