// An older build of this project, for upgrades from it: the first whose copies elect their master,
// built from the history of this checkout. TRIVET_OLDER names the bin/trivet.cjs of another one.
import { execFileSync } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { diskDir, type Teardown } from '../../test/support/temp-dir.ts'

const COMMIT = '493b7a92'
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const NAMED = process.env['TRIVET_OLDER']

const git = (...args: readonly string[]): Buffer =>
  execFileSync('git', args, { cwd: ROOT, maxBuffer: 1 << 30, stdio: ['ignore', 'pipe', 'ignore'] })

/** Why there is none. */
export function olderMissing(): string | undefined {
  if (NAMED !== undefined) return undefined
  try {
    git('cat-file', '-e', `${COMMIT}^{commit}`)
    return undefined
  } catch {
    return `this checkout has no commit ${COMMIT}, and TRIVET_OLDER names no older build`
  }
}

/** @returns its command; gone after the test */
export async function olderBuild(t: Teardown): Promise<string> {
  if (NAMED !== undefined) return NAMED
  const folder = await diskDir(t)
  execFileSync('tar', ['-x', '-C', folder], { input: git('archive', COMMIT) })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  // What types it was checked with may have changed since.
  const compilerOptions = {
    noCheck: true,
    declaration: false,
    composite: false,
    incremental: false,
  }
  const project = { extends: './tsconfig.json', references: [], include: ['src/**/*.ts'] }
  const path = join(folder, 'tsconfig.older.json')
  writeFileSync(path, JSON.stringify({ ...project, compilerOptions }))
  execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', path], { cwd: folder })
  return join(folder, 'bin/trivet.cjs')
}
