package interop.api;

/** One question to a cluster. The answer has nothing in it that differs from run to run. */
@FunctionalInterface
interface Case {
    Object ask(Cluster cluster) throws Exception;
}
