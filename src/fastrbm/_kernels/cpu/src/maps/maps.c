/* The handler of SIGBUS stands while there are ranges, and is put away with the last one.  It reads their table without
 * a lock: entries are never freed, and one that is used again has another stamp. */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE
#include "maps.h"

#ifdef _WIN32

frbm_map *frbm_map_watch(uintptr_t first, uintptr_t last, int *possible)
{
    (void)first, (void)last;
    *possible = 0;
    return 0;
}

int frbm_map_lost(const frbm_map *map)
{
    (void)map;
    return 0;
}

void frbm_map_release(frbm_map *map)
{
    (void)map;
}

#else

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct frbm_map {
    _Atomic uint64_t stamp; /* 0: free */
    _Atomic uintptr_t first, last; /* whole pages */
    _Atomic int lost;
    frbm_map *next;
};

static _Atomic(frbm_map *) maps;
static uint64_t stamps;
static int n_used;
static uintptr_t page;

/* What the signal was left to before; whether somebody's handler stood on ours when it was to be put away, and so may
 * still call it */
static struct sigaction previous;
static int stands, buried;
static _Atomic uintptr_t passing; /* the thread that is in a handler of others */

/* The range of an entry, if it was in use all the while */
static int range_of(frbm_map *map, uintptr_t *first, uintptr_t *last)
{
    uint64_t stamp = atomic_load(&map->stamp);
    *first = atomic_load(&map->first);
    *last = atomic_load(&map->last);
    return stamp != 0 && atomic_load(&map->stamp) == stamp;
}

static int replace(uintptr_t at)
{
    uintptr_t first, last, end = 0;
    at &= ~(page - 1);
    for (frbm_map *map = atomic_load(&maps); map; map = map->next)
        if (range_of(map, &first, &last) && first <= at && at < last && last > end)
            end = last;
    if (!end || mmap((void *)at, end - at, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANON, -1, 0) == MAP_FAILED)
        return 0;
    for (frbm_map *map = atomic_load(&maps); map; map = map->next)
        if (range_of(map, &first, &last) && first < end && at < last)
            atomic_store(&map->lost, 1);
    return 1;
}

/* Do what would have been done without us. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    uintptr_t self = (uintptr_t)pthread_self();
    int sent = info->si_code <= 0; /* by kill or raise: does not come again by itself */
    int again = atomic_load(&passing) == self || (sent && buried); /* one of those that we would pass it on to did so */
    if (!again && ((previous.sa_flags & SA_SIGINFO) || (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN))) {
        atomic_store(&passing, self);
        if (previous.sa_flags & SA_SIGINFO)
            previous.sa_sigaction(number, info, context);
        else
            previous.sa_handler(number);
        atomic_store(&passing, 0);
        return;
    }
    if (!again && sent && previous.sa_handler == SIG_IGN)
        return;
    struct sigaction end;
    memset(&end, 0, sizeof end);
    end.sa_handler = SIG_DFL;
    sigaction(number, &end, NULL);
    if (sent)
        raise(number);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int error = errno, broken = info->si_code <= 0;
#ifdef BUS_MCEERR_AR
    broken |= info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO; /* the memory itself */
#endif
    if (broken || !replace((uintptr_t)info->si_addr))
        pass_on(number, info, context);
    errno = error;
}

static int is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_bus_error;
}

static void install(void)
{
    struct sigaction ours, now;
    sigaction(SIGBUS, NULL, &now);
    if (is_ours(&now))
        return;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    buried |= stands;
    previous = now;
    stands = sigaction(SIGBUS, &ours, NULL) == 0;
}

static void put_away(void)
{
    struct sigaction now;
    sigaction(SIGBUS, NULL, &now);
    if (!is_ours(&now))
        return; /* somebody else's stands on it, and may pass signals on to it */
    sigaction(SIGBUS, &previous, NULL);
    stands = 0;
}

frbm_map *frbm_map_watch(uintptr_t first, uintptr_t last, int *possible)
{
    *possible = 1;
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    first &= ~(page - 1);
    last = (last + page - 1) & ~(page - 1);
    frbm_map *map = atomic_load(&maps);
    while (map && atomic_load(&map->stamp))
        map = map->next;
    if (!map) {
        map = calloc(1, sizeof *map);
        if (!map)
            return NULL;
        map->next = atomic_load(&maps);
        atomic_store(&maps, map);
    }
    atomic_store(&map->first, first);
    atomic_store(&map->last, last);
    atomic_store(&map->lost, 0);
    atomic_store(&map->stamp, ++stamps);
    n_used++;
    install();
    /* another reader has met its end already */
    for (frbm_map *other = atomic_load(&maps); other; other = other->next)
        if (atomic_load(&other->stamp) && atomic_load(&other->lost) && atomic_load(&other->first) < last &&
            first < atomic_load(&other->last))
            atomic_store(&map->lost, 1);
    return map;
}

int frbm_map_lost(const frbm_map *map)
{
    return atomic_load(&((frbm_map *)map)->lost);
}

void frbm_map_release(frbm_map *map)
{
    atomic_store(&map->stamp, 0);
    if (--n_used == 0)
        put_away();
}

#endif
