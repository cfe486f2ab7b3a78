// `npm test`: the files of ava.config.js but the slow ones, many in one process. To load the modules
// of a server, and to have them compiled, takes longer than the tests of most files. In a process one
// test runs at a time.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { SLOW } from './slow.config.js'

const FOLDER = 'dist/together'
const ENDING = '.test.js'
const FILES_MAX = 12

/** Each of the suites for several peers has the same titles for each. */
const HAS_TITLES_OF_OTHERS = /^test\/conformance\//
/** Their tests stand in files that they import, with about as much text as half a process has. */
const SUITE_CHARS = 50_000
/** It opens what the file's tests share, and would do so before all tests of the process. */
const HAS_HOOK = /^test\.before\(/m

/** Paths of test files by the name of the process that they share. */
function filesByProcess() {
  const shared = new Map()
  const processes = new Map()
  for (const name of readdirSync('test', { recursive: true }).sort()) {
    const path = `test/${name}`
    if (!path.endsWith('.test.ts') || SLOW.includes(path)) continue
    if (HAS_TITLES_OF_OTHERS.test(path) || HAS_HOOK.test(readFileSync(path, 'utf8'))) {
      processes.set(path.replace(/\.test\.ts$/, '').replaceAll('/', '-'), [path])
    } else shared.set(dirname(path), [...(shared.get(dirname(path)) ?? []), path])
  }
  for (const [folder, paths] of shared) {
    const count = Math.ceil(paths.length / FILES_MAX)
    for (let i = 0; i < count; i++) {
      const own = paths.filter((_, at) => at % count === i)
      processes.set(`${folder.replaceAll('/', '-')}-${i + 1}`, own)
    }
  }
  return processes
}

export default () => {
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER, { recursive: true })
  const charsOf = new Map()
  for (const [name, paths] of filesByProcess()) {
    const texts = paths.map((path) => readFileSync(path, 'utf8'))
    const isSuite = HAS_TITLES_OF_OTHERS.test(paths[0])
    charsOf.set(name, isSuite ? SUITE_CHARS : texts.join('').length)
    const all = ['test/support/one-at-a-time.ts', ...paths]
    const imports = all.map((path) => `import '../${path.replace(/\.ts$/, '.js')}'\n`)
    writeFileSync(join(FOLDER, `${name}${ENDING}`), imports.join(''))
  }
  return {
    files: [`${FOLDER}/*.test.js`],
    nodeArguments: ['--enable-source-maps'],
    // Threads would share the pool for files, and memory of one that is over is not given back.
    workerThreads: false,
    // Without any result for this long, the run hangs; a busy machine makes single tests slow.
    timeout: '3m',
    // More than the two cores it is made for: many tests wait for processes and timers.
    concurrency: 5,
    // The largest first, so that none is left to run alone at the end.
    sortTestFiles: (a, b) => charsOf.get(basename(b, ENDING)) - charsOf.get(basename(a, ENDING)),
  }
}
