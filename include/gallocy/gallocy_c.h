/* The C interface: joining a cluster, mapping shared memory, and malloc-like functions on the global heap.
 *
 * The functions are those of node.h and heap.h, which have the details. A function that fails returns NULL or an error
 * code other than 0 and leaves a one-line message for the calling thread: gallocy_error_message().
 *
 * Example
 *   gallocy_node* node = gallocy_join(NULL);
 *   if (node == NULL) return gallocy_report();
 *   double* grid = gallocy_map(node, "grid", 8 << 20, GALLOCY_FIRST_TOUCH, 0);
 *   if (grid == NULL) return gallocy_report();
 *   ...
 *   if (gallocy_barrier(node) != 0) return gallocy_report();
 *   gallocy_leave(node);
 */
#ifndef GALLOCY_GALLOCY_C_H
#define GALLOCY_GALLOCY_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors ---- */

/* What errors.h calls ErrorCode; also exit statuses of programs. */
enum {
  GALLOCY_OK = 0,
  GALLOCY_INVALID_ARGUMENT = 64,
  GALLOCY_NOT_FOUND = 66,
  GALLOCY_UNREACHABLE = 68,
  GALLOCY_UNSUPPORTED = 69,
  GALLOCY_PEER_LOST = 70,
  GALLOCY_OS_ERROR = 71,
  GALLOCY_ADDRESS_IN_USE = 72,
  GALLOCY_NO_SPACE = 73,
  GALLOCY_OUT_OF_MEMORY = 74,
  GALLOCY_TIMEOUT = 75,
  GALLOCY_PROTOCOL = 76,
  GALLOCY_NOT_PERMITTED = 77,
  GALLOCY_EXISTS = 78,
  GALLOCY_OWNER_DIED = 79,
  GALLOCY_CONFLICT = 80,
  GALLOCY_LOST = 81
};

/* Of the last function of this header that failed in this thread; "" and GALLOCY_OK if none did. The text stays until
 * the next failure in this thread. */
const char* gallocy_error_message(void);
int gallocy_error_code(void);
/* Prints "gallocy: <message>" to standard error; returns the code. */
int gallocy_report(void);

/* ---- The node ---- */

/* This process as a member of a cluster; at most one in a process. */
typedef struct gallocy_node gallocy_node;

typedef struct gallocy_options {
  uint64_t memory_bytes;     /* frames this node may hold; 0: as the launcher says */
  const char* fault_engine;  /* "uffd-sigbus", "uffd-thread", "sigsegv"; NULL: as the launcher says */
  int continue_on_peer_lost; /* 0: the death of another node ends this one */
} gallocy_options;

/* Joins the cluster that the launcher described; returns when all nodes have. NULL options: all defaults. */
gallocy_node* gallocy_join(const gallocy_options* options);
/* Waits for all nodes to come to this point, then leaves. NULL: nothing happens. */
void gallocy_leave(gallocy_node* node);

unsigned gallocy_node_id(const gallocy_node* node); /* 0 ... gallocy_node_count() - 1 */
unsigned gallocy_node_count(const gallocy_node* node);

typedef enum gallocy_placement {
  GALLOCY_FIRST_TOUCH = 0, /* the home of a page is the node that first uses it */
  GALLOCY_INTERLEAVE = 1,  /* 256 KiB blocks, the nodes in turn */
  GALLOCY_ON_NODE = 2,     /* all on one node */
  GALLOCY_BLOCKED = 3      /* as many equal parts as nodes, in order */
} gallocy_placement;

/* Memory that every node which maps the same name sees at the same address; zero until written. The first to map a name
 * creates it. `on_node` is used with GALLOCY_ON_NODE only. It stays mapped until the node leaves. */
void* gallocy_map(gallocy_node* node, const char* name, uint64_t bytes, gallocy_placement placement, unsigned on_node);

/* Durable memory: what was committed to it survives the death of `backups` nodes at once (RegionOptions in node.h). It
 * is read and written by transactions, and by plain loads and stores in sections. */
void* gallocy_map_durable(gallocy_node* node, const char* name, uint64_t bytes, unsigned backups);

/* Waits until every node has called it. One thread per node at a time. */
int gallocy_barrier(gallocy_node* node);

/* ---- Transactions ---- */

/* Of one thread; what it reads and writes happens at one moment, or not at all (transaction.h). */
typedef struct gallocy_transaction gallocy_transaction;

gallocy_transaction* gallocy_begin(void); /* needs a joined process */
/* What the transaction itself wrote, or what was committed. An error stays until gallocy_commit, which returns it. */
int gallocy_read(gallocy_transaction* transaction, const void* at, void* to, size_t bytes);
int gallocy_write(gallocy_transaction* transaction, void* at, const void* from, size_t bytes);
/* 0: it happened and survives. GALLOCY_CONFLICT: it did not happen; begin from the reads. Either way it is empty then.
 */
int gallocy_commit(gallocy_transaction* transaction);
/* As gallocy_commit without waiting: the transaction is empty and may be used for another meanwhile. */
typedef struct gallocy_commitment gallocy_commitment;
gallocy_commitment* gallocy_submit(gallocy_transaction* transaction);
int gallocy_wait_commit(gallocy_commitment* commitment); /* what gallocy_commit returns; frees it */
/* What was not committed never happened. NULL: nothing happens. */
void gallocy_end(gallocy_transaction* transaction);

/* ---- Sections ---- */

/* Durable memory by plain loads and stores, which happen at one moment, or not at all (section.h). */
typedef struct gallocy_section gallocy_section;

/* Whole pages of durable memory, and the lock of sections there. */
typedef struct gallocy_durable_lock {
  const void* start; /* of a page */
  size_t bytes;      /* rounded up to whole pages */
} gallocy_durable_lock;

/* Waits for the locks. Their pages may be touched until the section ends. owner_died, unless NULL: becomes 1 if whoever
 * had one of the locks last died, else 0. NULL: see gallocy_error_code(). */
gallocy_section* gallocy_enter(const gallocy_durable_lock* locks, size_t count, int* owner_died);
/* Each ends the section and frees it. 0: it happened and survives. GALLOCY_CONFLICT: it did not; enter it again. */
int gallocy_commit_section(gallocy_section* section);
void gallocy_roll_back(gallocy_section* section); /* it never happened. NULL: nothing happens */

/* ---- The global heap ---- */

/* As the functions of <stdlib.h> of these names, in memory that all nodes see; free on any node. NULL with errno ENOMEM
 * if the heap is full. A double free or a pointer that is not of the heap ends the process with one line. The process
 * must have joined. */
void* gallocy_malloc(size_t bytes);
void* gallocy_calloc(size_t count, size_t bytes);
void gallocy_free(void* pointer);
/* alignment: a power of two up to 4096; else NULL with errno EINVAL. */
void* gallocy_aligned_alloc(size_t alignment, size_t bytes);
/* Only for objects of this node, because other nodes do not know their size: else NULL with errno EINVAL, and the
 * object stays as it is. */
void* gallocy_realloc(void* pointer, size_t bytes);
/* At least the bytes that were asked for; 0 for objects of other nodes. */
size_t gallocy_usable_size(const void* pointer);

#ifdef __cplusplus
}
#endif

#endif
