// Foreign clients and foreign brokers; run by `npm run test:interop`. One file at a time: each starts
// processes of its own, and two of them would share the cores.
export default {
  files: ['interop-tests/**/*.test.ts'],
  typescript: { rewritePaths: { 'interop-tests/': 'dist/interop-tests/' }, compile: false },
  nodeArguments: ['--enable-source-maps'],
  timeout: '5m',
  concurrency: 1,
}
