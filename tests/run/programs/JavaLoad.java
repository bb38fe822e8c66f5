import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;

// Executors, parallel streams, monitors, a concurrent map, and garbage that all threads make at once while they keep some.
//   java JavaLoad THREADS ROUNDS
public class JavaLoad {
  static long counter = 0;
  static final Object lock = new Object();

  static long garbage(int seed, int rounds) {
    Random random = new Random(seed);
    Map<Integer, int[]> kept = new HashMap<>();
    long sum = 0;
    for (int i = 0; i < rounds; ++i) {
      int[] piece = new int[16 + random.nextInt(2000)];
      Arrays.fill(piece, i);
      kept.put(random.nextInt(200), piece);
      if (i % 64 == 0) for (int[] old : kept.values()) sum += old[0] + old[old.length - 1] + old.length;
    }
    for (int[] old : kept.values()) for (int value : old) sum += value;
    return sum;
  }

  static void await() {
    synchronized (lock) {
      try {
        while (counter >= 0) lock.wait();
      } catch (InterruptedException error) {
        System.out.println(error);
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    int threads = Integer.parseInt(arguments[0]), rounds = Integer.parseInt(arguments[1]), shared = rounds / 10;
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    List<Future<Long>> results = new ArrayList<>();
    for (int t = 0; t < threads; ++t) {
      final int seed = t;
      results.add(pool.submit(() -> garbage(seed, rounds)));
    }
    for (Future<Long> result : results) System.out.println("kept " + result.get());

    ConcurrentHashMap<Integer, LongAdder> map = new ConcurrentHashMap<>();
    CountDownLatch done = new CountDownLatch(threads);
    for (int t = 0; t < threads; ++t) {
      pool.execute(() -> {
        for (int i = 0; i < shared; ++i) {
          map.computeIfAbsent(i % 97, key -> new LongAdder()).increment();
          synchronized (lock) {
            ++counter;
          }
        }
        done.countDown();
      });
    }
    done.await();
    pool.shutdown();
    System.out.println("ended " + pool.awaitTermination(60, TimeUnit.SECONDS));
    long counted = map.values().stream().mapToLong(LongAdder::sum).sum();
    System.out.println("map " + map.size() + " " + counted + " counter " + counter);
    long squares = LongStream.range(0, 50L * rounds).parallel().map(x -> x * x % 7).sum();
    Map<Integer, Long> groups = IntStream.range(0, shared).parallel().boxed().collect(
        Collectors.groupingByConcurrent(x -> x % 5, Collectors.counting()));
    System.out.println("streams " + squares + " " + new TreeMap<>(groups));
    Thread waiter = new Thread(JavaLoad::await);
    waiter.start();
    synchronized (lock) {
      counter = -1;
      lock.notifyAll();
    }
    waiter.join();
    System.out.println("waited");
  }
}
