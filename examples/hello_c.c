/* hello_c: the smallest program in C. Each node writes a line into shared memory, and one more on the global heap that
 * it hands to node 0 by pointer; node 0 prints them all and frees what the others allocated.
 *
 *   gallocy launch -n 4 -- hello_c
 */
#include <gallocy/gallocy_c.h>
#include <stdio.h>

/* One page each, so that two nodes never write to the same page. */
typedef struct {
  char text[64];
  char* more; /* on the global heap: this pointer is good on every node */
  char rest_of_page[4096 - 64 - sizeof(char*)];
} line;

int main(void) {
  gallocy_node* node = gallocy_join(NULL);
  if (node == NULL) return gallocy_report();
  const unsigned id = gallocy_node_id(node), count = gallocy_node_count(node);

  line* lines = gallocy_map(node, "hello_c.lines", count * sizeof(line), GALLOCY_FIRST_TOUCH, 0);
  if (lines == NULL) return gallocy_report();
  snprintf(lines[id].text, sizeof lines[id].text, "node %u of %u was here", id, count);
  lines[id].more = gallocy_malloc(64);
  if (lines[id].more == NULL) return gallocy_report();
  snprintf(lines[id].more, 64, "and left this on the heap");

  if (gallocy_barrier(node) != 0) return gallocy_report();
  if (id == 0) {
    for (unsigned i = 0; i < count; ++i) {
      printf("%s %s\n", lines[i].text, lines[i].more);
      gallocy_free(lines[i].more);
    }
  }
  gallocy_leave(node);
  return 0;
}
