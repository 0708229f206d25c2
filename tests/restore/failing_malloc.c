/* Preloaded: lets chosen allocations of at least some size fail, as they do when memory runs out.

   arm(first, n, least): of the allocations from now on that are of at least `least` bytes, those from number
   `first` (counted from 0) on fail, `n` of them. counted() says how many there were since then. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

static long seen = 0, from = -1, until = -1;
static size_t smallest = (size_t)-1;

void arm(long first, long n, size_t least) {
    __atomic_store_n(&smallest, (size_t)-1, __ATOMIC_SEQ_CST);
    seen = 0, from = first, until = n < 0 ? -1 : first + n;
    __atomic_store_n(&smallest, least, __ATOMIC_SEQ_CST);
}

long counted(void) { return __atomic_load_n(&seen, __ATOMIC_SEQ_CST); }

static int fails(size_t size) {
    if (size < __atomic_load_n(&smallest, __ATOMIC_SEQ_CST)) return 0;
    long number = __atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
    return from >= 0 && number >= from && (until < 0 || number < until);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) { return fails(size) ? (errno = ENOMEM, NULL) : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return fails(n * size) ? (errno = ENOMEM, NULL) : __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return fails(size) ? (errno = ENOMEM, NULL) : __libc_realloc(old, size); }
void *memalign(size_t align, size_t size) { return fails(size) ? (errno = ENOMEM, NULL) : __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
    if (fails(size)) return ENOMEM;
    *out = __libc_memalign(align, size);
    return *out ? 0 : ENOMEM;
}
