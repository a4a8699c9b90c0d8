/* A thread's scratch memory: one block a library, sized by the planner (TB_ARENA_BYTES). */
#if TB_ARENA_BYTES > 0
static _Thread_local _Alignas(64) char arena[TB_ARENA_BYTES];

__attribute__((visibility("hidden"))) char *tilebuild_arena(void) { return arena; }
#else
__attribute__((visibility("hidden"))) char *tilebuild_arena(void) { return 0; }
#endif
