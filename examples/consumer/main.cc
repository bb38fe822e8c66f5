// The squares of the first numbers, computed by all nodes, added up by node 0.
//
//   gallocy launch -n 4 -- consumer      (or just: consumer, a cluster of one)
#include <gallocy/gallocy.h>

#include <iostream>
#include <numeric>

int main() {
  auto node = gallocy::Node::join();
  if (!node) return gallocy::report(node.error());

  auto squares = (*node)->shared<long>("squares", 1000);
  if (!squares) return gallocy::report(squares.error());
  const auto [begin, end] = gallocy::share(squares->size(), (*node)->id(), (*node)->count());
  for (auto i = begin; i < end; ++i) (*squares)[i] = static_cast<long>(i * i);

  if (auto met = (*node)->barrier(); !met) return gallocy::report(met.error());
  if ((*node)->id() == 0) std::cout << std::accumulate(squares->begin(), squares->end(), 0L) << '\n';
}
