// Compute THREADS ROUNDS: each thread permutes an array of its own; prints digest=<of all>.
public class Compute {
  private static final int LENGTH = 1 << 12;

  private static long work(int seed, int rounds) {
    int[] numbers = new int[LENGTH];
    long random = seed * 0x9e3779b97f4a7c15L + 1;
    for (int i = 0; i < LENGTH; ++i) {
      random ^= random << 13;
      random ^= random >>> 7;
      random ^= random << 17;
      numbers[i] = (int) random;
    }
    long digest = 0;
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < LENGTH; ++i) {
        int other = (numbers[i] & 0x7fffffff) % LENGTH;
        int moved = numbers[i];
        numbers[i] = numbers[other] * 31 + round;
        numbers[other] = moved;
      }
      digest = digest * 1099511628211L + numbers[round % LENGTH];
    }
    return digest;
  }

  public static void main(String[] arguments) throws InterruptedException {
    int rounds = Integer.parseInt(arguments[1]);
    Thread[] threads = new Thread[Integer.parseInt(arguments[0])];
    long[] results = new long[threads.length];
    for (int t = 0; t < threads.length; ++t) {
      int me = t;
      threads[t] = new Thread(() -> results[me] = work(me, rounds));
      threads[t].start();
    }
    long digest = 0;
    for (int t = 0; t < threads.length; ++t) {
      threads[t].join();
      digest = digest * 31 + results[t];
    }
    System.out.println("digest=" + Long.toHexString(digest));
  }
}
