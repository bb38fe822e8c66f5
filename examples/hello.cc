// hello: the smallest program on the library. Each node writes its line into shared memory; node 0 prints them all.
//
//   gallocy launch -n 4 -- hello
#include <gallocy/gallocy.h>

#include <cstdio>

int main() {
  // This process becomes a node of the cluster that the launcher described (without a launcher: a cluster of one).
  auto node = gallocy::Node::join();
  if (!node) return gallocy::report(node.error());
  const unsigned id = (*node)->id(), count = (*node)->count();

  // An array that every node sees at the same address. Equal names are the same memory.
  struct Line {
    char text[64];
  };
  auto lines = (*node)->shared<Line>("hello.lines", count);
  if (!lines) return gallocy::report(lines.error());

  // A store is a store: the page comes here by itself when it is touched.
  std::snprintf((*lines)[id].text, sizeof(Line::text), "node %u of %u was here", id, count);

  // What was written before the barrier is seen after it, everywhere.
  if (auto met = (*node)->barrier(); !met) return gallocy::report(met.error());
  if (id == 0) {
    for (const Line& line : *lines) std::puts(line.text);
  }
  return 0;  // the Node's destructor waits for the other nodes, then leaves
}
