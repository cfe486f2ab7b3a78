package interop;

import java.util.Arrays;

/**
 * Waits for what shuts clients down. Each joins a thread of its client that looks up every three seconds only; here
 * that thread is woken.
 */
final class Closing {
    private static final String EVENTS = "NettyEventExecutor";
    private static final long STEP_MS = 20;

    static void run(Runnable shutdown) throws InterruptedException {
        Thread closing = new Thread(shutdown);
        closing.start();
        await(closing, Long.MAX_VALUE);
    }

    static void await(Thread closing, long msMax) throws InterruptedException {
        long begun = System.nanoTime();
        while (closing.isAlive() && (System.nanoTime() - begun) / 1_000_000 < msMax) {
            closing.join(STEP_MS);
            if (isIn(closing, "ServiceThread", "shutdown")) {
                wake();
            }
        }
    }

    private static void wake() {
        Thread[] threads = new Thread[Thread.activeCount() + 64];
        int count = Thread.enumerate(threads);
        for (Thread thread : Arrays.asList(threads).subList(0, count)) {
            if (thread.getName().contains(EVENTS) && isIn(thread, "Queue", "poll")) {
                thread.interrupt();
            }
        }
    }

    private static boolean isIn(Thread thread, String type, String method) {
        return Arrays.stream(thread.getStackTrace())
            .anyMatch(frame -> frame.getClassName().endsWith(type) && frame.getMethodName().equals(method));
    }

    private Closing() {
    }
}
