/* Runs a kernel's parts on a few threads: tilebuild_run(entry, slots, parts, threads) returns when all parts are done.
 *
 * The caller is one of the threads; the others are made once, sleep between launches and take no signals. Parts are
 * handed out one by one, so threads that are late or slow take fewer. Where another launch has the threads (of another
 * thread of the program), the caller does its parts alone. A forked child starts without threads and makes its own. */
#define _POSIX_C_SOURCE 200809L /* of signal.h, where the compiler keeps to the C standard */
#include <stdint.h>

typedef void (*Entry)(const int64_t *slots, int64_t part, int64_t parts);

__attribute__((visibility("default"))) void tilebuild_run(Entry entry, const int64_t *slots, int64_t parts,
                                                          int32_t threads);

#ifdef _WIN32
void tilebuild_run(Entry entry, const int64_t *slots, int64_t parts, int32_t threads)
{
    (void)parts, (void)threads;
    entry(slots, 0, 1);
}
#else
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of all that follows, but for `taken` and `next` */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static uint64_t launches; /* so far */
static int32_t workers;   /* that exist */
static int32_t places;    /* for workers that may still join this launch */
static int32_t active;    /* workers in this launch */
static struct {
    Entry entry;
    const int64_t *slots;
    int64_t parts;
} job;
static atomic_flag taken = ATOMIC_FLAG_INIT; /* by a launch */
static _Atomic int64_t next;                 /* part to hand out */

static void work(void)
{
    for (int64_t part; (part = atomic_fetch_add(&next, 1)) < job.parts;) job.entry(job.slots, part, job.parts);
}

static void *worker(void *unused)
{
    uint64_t seen = 0;
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (places == 0 || seen == launches) pthread_cond_wait(&wake, &mutex);
        seen = launches;
        places--;
        active++;
        pthread_mutex_unlock(&mutex);
        work();
        pthread_mutex_lock(&mutex);
        if (--active == 0) pthread_cond_signal(&done);
    }
    return unused;
}

static void start_workers(int32_t wanted)
{
    sigset_t all, before;
    pthread_attr_t detached;
    if (workers >= wanted) return;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited: the program's handlers run on its own threads */
    for (pthread_t thread; workers < wanted && pthread_create(&thread, &detached, worker, 0) == 0;) workers++;
    pthread_sigmask(SIG_SETMASK, &before, 0);
    pthread_attr_destroy(&detached);
}

static void after_fork(void)
{
    pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t unused = PTHREAD_COND_INITIALIZER;
    mutex = unlocked;
    wake = done = unused;
    workers = places = active = 0;
    atomic_flag_clear(&taken);
}

__attribute__((constructor)) static void follow_forks(void) { pthread_atfork(0, 0, after_fork); }

void tilebuild_run(Entry entry, const int64_t *slots, int64_t parts, int32_t threads)
{
    if (threads < 2 || parts < 2 || atomic_flag_test_and_set(&taken)) {
        entry(slots, 0, 1);
        return;
    }
    pthread_mutex_lock(&mutex);
    start_workers(threads - 1);
    job.entry = entry, job.slots = slots, job.parts = parts;
    atomic_store(&next, 0);
    places = threads - 1;
    launches++;
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&mutex);
    work();
    pthread_mutex_lock(&mutex);
    places = 0;
    while (active > 0) pthread_cond_wait(&done, &mutex);
    pthread_mutex_unlock(&mutex);
    atomic_flag_clear(&taken);
}
#endif
