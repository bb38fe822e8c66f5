/* hello_c: hello.cc in C. Each node writes its line into shared memory; node 0 prints them all.
 *
 *   gallocy launch -n 4 -- hello_c
 */
#include <gallocy/gallocy_c.h>
#include <stdio.h>

struct line {
  char text[64];
};

int main(void) {
  gallocy_node* node = gallocy_join(NULL);
  if (node == NULL) return gallocy_report();
  const unsigned id = gallocy_node_id(node), count = gallocy_node_count(node);

  struct line* lines = gallocy_map(node, "hello.lines", count * sizeof *lines, GALLOCY_FIRST_TOUCH, 0);
  if (lines == NULL) return gallocy_report();
  snprintf(lines[id].text, sizeof lines[id].text, "node %u of %u was here", id, count);

  if (gallocy_barrier(node) != 0) return gallocy_report();
  if (id == 0) {
    for (unsigned i = 0; i < count; ++i) puts(lines[i].text);
  }
  gallocy_leave(node);
  return 0;
}
