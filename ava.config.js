// Tests run on compiled output: type-checked, fast to start, and child processes get real JavaScript.
export default {
  files: ['test/**/*.test.ts'],
  typescript: { rewritePaths: { 'test/': 'dist/test/' }, compile: false },
  nodeArguments: ['--enable-source-maps'],
  // Without any result for this long, the run hangs; a busy machine makes single tests slow.
  timeout: '3m',
  // More than the two cores it is made for: many tests wait for processes and the disk.
  concurrency: 3,
}
