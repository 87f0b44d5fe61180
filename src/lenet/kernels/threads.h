// A few threads that take the steps of one call together. They are made for the call and gone after it, so that nothing
// is left over in a process that forks. Who waits looks for a moment and then sleeps: two trainings on two cores must
// not take each other's time.
#pragma once
#include <pthread.h>
#include <stdatomic.h>

enum { LOOKS = 2000, MAX_THREADS = 64 };

typedef struct {
  int size;
  atomic_int arrived, round;
  pthread_mutex_t mutex;
  pthread_cond_t next;
} Team;

// Wait until every thread of the team is here.
static void meet(Team *team) {
  if (team->size == 1) return;
  int round = atomic_load(&team->round);
  if (atomic_fetch_add(&team->arrived, 1) == team->size - 1) {
    atomic_store(&team->arrived, 0);
    pthread_mutex_lock(&team->mutex);
    atomic_store(&team->round, round + 1);
    pthread_cond_broadcast(&team->next);
    pthread_mutex_unlock(&team->mutex);
    return;
  }
  for (int look = 0; look < LOOKS; look++) {
    if (atomic_load(&team->round) != round) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  pthread_mutex_lock(&team->mutex);
  while (atomic_load(&team->round) == round) pthread_cond_wait(&team->next, &team->mutex);
  pthread_mutex_unlock(&team->mutex);
}

typedef struct {
  void (*work)(void *context, Team *team, int rank);
  void *context;
  Team *team;
  int rank;
} Member;

static void *begin(void *member) {
  Member *m = member;
  pthread_mutex_lock(&m->team->mutex);  // the team's size is known when it is free
  pthread_mutex_unlock(&m->team->mutex);
  m->work(m->context, m->team, m->rank);
  return NULL;
}

// Have `work` called with the ranks 0 to threads - 1 at once. Where the system refuses a thread, fewer do the same work.
static void run_together(int threads, void (*work)(void *, Team *, int), void *context) {
  Team team = {.size = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads};
  pthread_t ids[MAX_THREADS];
  Member members[MAX_THREADS];
  pthread_mutex_init(&team.mutex, NULL);
  pthread_cond_init(&team.next, NULL);
  pthread_mutex_lock(&team.mutex);
  int started = 1;
  for (int rank = 0; rank < team.size; rank++) members[rank] = (Member){work, context, &team, rank};
  while (started < team.size && pthread_create(&ids[started], NULL, begin, &members[started]) == 0) started++;
  team.size = started;
  pthread_mutex_unlock(&team.mutex);
  begin(&members[0]);
  for (int rank = 1; rank < started; rank++) pthread_join(ids[rank], NULL);
  pthread_cond_destroy(&team.next);
  pthread_mutex_destroy(&team.mutex);
}
