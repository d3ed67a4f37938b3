/* A plugin of QEMU 7 and 8 in user mode: how often every block of instructions ran between two marks.

   The guest makes a system call that no kernel has, syscall(0x5150, 1) to begin and syscall(0x5150, 2) to end. At the
   end the file named by `out=PATH` is written anew: a line "COUNT CODE" per block that ran, its instructions in
   hexadecimal as they lie in memory, and a last line "end INSTRUCTIONS". Only the thread that made the first mark is
   counted: what runs beside it, such as a thread that polls, does so at any time.

   QEMU's interface is declared here as far as it is used. */

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum { NO_REGISTERS = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                                     uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                                     uint64_t));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { MARK = 0x5150, BEGIN = 1, END = 2 };

struct block {
  uint64_t count;
  struct block *next;
  uint32_t instructions;
  uint32_t bytes;
  unsigned char code[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static const char *out;

static const unsigned NOBODY = ~0u;
static volatile unsigned counted = ~0u;

static void on_execution(unsigned vcpu, void *block) {
  if (vcpu == counted) ((struct block *)block)->count++;
}

/* Every translation has a counter of its own, which lives as long as the process: QEMU keeps its address. */
static void on_translation(plugin_id id, struct qemu_plugin_tb *tb) {
  (void)id;
  size_t instructions = qemu_plugin_tb_n_insns(tb), bytes = 0;
  for (size_t i = 0; i < instructions; i++) bytes += qemu_plugin_insn_size(qemu_plugin_tb_get_insn(tb, i));
  struct block *block = calloc(1, sizeof *block + bytes);
  if (!block) abort();
  block->instructions = instructions;
  for (size_t i = 0; i < instructions; i++) {
    struct qemu_plugin_insn *each = qemu_plugin_tb_get_insn(tb, i);
    memcpy(block->code + block->bytes, qemu_plugin_insn_data(each), qemu_plugin_insn_size(each));
    block->bytes += qemu_plugin_insn_size(each);
  }
  pthread_mutex_lock(&lock);
  block->next = blocks;
  blocks = block;
  pthread_mutex_unlock(&lock);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execution, NO_REGISTERS, block);
}

static void report(void) {
  uint64_t total = 0;
  FILE *file = fopen(out, "w");
  if (!file) {
    perror(out);
    exit(1);
  }
  for (struct block *each = blocks; each; each = each->next) {
    if (!each->count) continue;
    total += each->count * each->instructions;
    fprintf(file, "%" PRIu64 " ", each->count);
    for (uint32_t i = 0; i < each->bytes; i++) fprintf(file, "%02x", each->code[i]);
    fputc('\n', file);
  }
  fprintf(file, "end %" PRIu64 "\n", total);
  if (fclose(file)) {
    perror(out);
    exit(1);
  }
}

static void on_syscall(plugin_id id, unsigned vcpu, int64_t number, uint64_t label, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != MARK) return;
  pthread_mutex_lock(&lock);
  if (label == BEGIN) {
    for (struct block *each = blocks; each; each = each->next) each->count = 0;
    counted = vcpu;
  }
  if (label == END) {
    counted = NOBODY;
    report();
  }
  pthread_mutex_unlock(&lock);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc,
                                                               char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], "out=", 4)) out = strdup(argv[i] + 4);
  if (!out) {
    fputs("counter: out=PATH is missing\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
  return 0;
}
