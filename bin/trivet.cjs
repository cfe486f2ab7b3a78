#!/usr/bin/env node
// CommonJS on purpose: an ES module entry starts Node's thread pool before its first line runs, and the
// pool's size can only be set before. The log's syncs, LevelDB and password hashes share it.
process.env.UV_THREADPOOL_SIZE ??= '12'
import('../dist/src/main.js').then(
  ({ main }) => main(process.argv.slice(2)),
  (error) => {
    console.error(
      error?.code === 'ERR_MODULE_NOT_FOUND' ? 'trivet is not built; run: npm run build' : error,
    )
    process.exitCode = 1
  },
)
