// Clang's thread-safety annotations (clang -Wthread-safety checks them; other compilers see nothing).
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define GALLOCY_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define GALLOCY_THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(name) GALLOCY_THREAD_ANNOTATION(capability(name))
#define SCOPED_CAPABILITY GALLOCY_THREAD_ANNOTATION(scoped_lockable)
#define GUARDED_BY(mutex) GALLOCY_THREAD_ANNOTATION(guarded_by(mutex))
#define PT_GUARDED_BY(mutex) GALLOCY_THREAD_ANNOTATION(pt_guarded_by(mutex))
#define REQUIRES(...) GALLOCY_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) GALLOCY_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) GALLOCY_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) GALLOCY_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) GALLOCY_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define ASSERT_CAPABILITY(x) GALLOCY_THREAD_ANNOTATION(assert_capability(x))
#define RETURN_CAPABILITY(x) GALLOCY_THREAD_ANNOTATION(lock_returned(x))
#define ACQUIRED_BEFORE(...) GALLOCY_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
#define ACQUIRED_AFTER(...) GALLOCY_THREAD_ANNOTATION(acquired_after(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS GALLOCY_THREAD_ANNOTATION(no_thread_safety_analysis)
