// A project that has trivetmq without the optional packages of OpenTelemetry.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { plainEnv, TRIVET } from '../support/server.ts'
import { textOf } from '../support/sources/sources.ts'
import { tempDir } from '../support/temp-dir.ts'

/** As node resolves a name in a project that does not have the package. */
const HOOKS = `
export async function resolve(name, context, next) {
  if (!name.startsWith('@opentelemetry/')) return next(name, context)
  const error = new Error("Cannot find package '" + name + "'")
  throw Object.assign(error, { code: 'ERR_MODULE_NOT_FOUND' })
}`

test('a start with tracing says which packages to install, in versions that fit', async (t) => {
  const folder = await tempDir(t)
  writeFileSync(join(folder, 'hooks.mjs'), HOOKS)
  const register =
    "import { register } from 'node:module'; register('./hooks.mjs', import.meta.url)"
  writeFileSync(join(folder, 'register.mjs'), register)
  const traced = ['--tracing.endpoint', 'http://127.0.0.1:9/v1/traces', '--any.port', '0']
  const args = ['start', '--data-dir', join(folder, 'data'), ...traced]
  const node = ['--import', join(folder, 'register.mjs'), TRIVET, ...args]
  const child = spawn(process.execPath, node, { env: plainEnv() })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  t.not(code, 0)
  const [, packages = ''] = /OpenTelemetry does not load .*npm install ([^"\n]+)/.exec(said) ?? []
  const { peerDependencies } = JSON.parse(textOf('package.json')) as {
    peerDependencies: Record<string, string>
  }
  const peers = Object.keys(peerDependencies).filter((name) => name.includes('opentelemetry'))
  const named = new Map(packages.trim().split(' ').map(nameAndVersion))
  t.deepEqual([...named.keys()].toSorted(), peers.toSorted(), said)
  for (const [name, version] of named) {
    t.true(peerDependencies[name]!.slice(1).startsWith(version), name)
  }
})

function nameAndVersion(wanted: string): [string, string] {
  const at = wanted.lastIndexOf('@')
  return [wanted.slice(0, at), wanted.slice(at + 1)]
}
