// Tests run on compiled output: type-checked, fast to start, and child processes get real JavaScript.
export default {
  files: ['test/**/*.test.ts'],
  typescript: { rewritePaths: { 'test/': 'dist/test/' }, compile: false },
  nodeArguments: ['--enable-source-maps'],
  timeout: '60s',
  concurrency: 2,
}
