// Tests that start many processes, or wait in real time: run by `npm run test:slow` and in CI. Each
// says what no shorter test can.
import config from './ava.config.js'

export const SLOW = [
  // Kills, freezes and starts brokers again and again.
  'test/client/kills.test.ts',
  'test/cluster/frozen-broker.test.ts',
  'test/aedes/kill.test.ts',
  'test/replication/failover.test.ts',
  'test/thread.test.ts',
  // Elections of three simulated brokers, over many schedules.
  'test/replication/election-simulation.test.ts',
  // Copies brokers that are being written to.
  'test/docs/backup.test.ts',
  // Bodies of 16 MiB in every protocol.
  'test/large-bodies.test.ts',
  // Compile the examples of the docs, and run each in a process of its own.
  'test/docs/deploying.test.ts',
  'test/docs/sdk-snippets.test.ts',
  'test/readme.test.ts',
]

export default { ...config, files: SLOW, concurrency: 2 }
