// Foreign clients and foreign brokers; run by `npm run test:interop`. One file at a time: each starts
// processes of its own, and two of them would share the cores.
export default {
  files: ['interop-tests/**/*.test.ts'],
  typescript: { rewritePaths: { 'interop-tests/': 'dist/interop-tests/' }, compile: false },
  nodeArguments: ['--enable-source-maps'],
  // A first run loads jars from Maven Central before its first result.
  timeout: '10m',
  concurrency: 1,
}
