// The project's own source files as text, for tests that hold them to rules.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../../..', import.meta.url))

export interface Source {
  /** From the root, with slashes: 'src/store/open.ts'. */
  readonly path: string
  readonly text: string
}

export function sources(folder: string, extension = '.ts'): readonly Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(extension))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

export const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Without comments, so that a word in prose is no use of it. Strings stay. */
export const codeOf = (text: string): string =>
  text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|[^:'"`])\/\/.*$/gm, '$1')

/** Its lines that are comments; the others are empty. */
export const commentsOf = (text: string): string => text.replaceAll(/^(?!\s*(\/\/|\/?\*)).*$/gm, '')

/** Paths of the project's files that a source imports, types and lazy imports included. */
export function importsOf(source: Source): readonly string[] {
  const found: string[] = []
  for (const [, name] of codeOf(source.text).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    found.push(normalize(join(dirname(source.path), name!)).replaceAll('\\', '/'))
  }
  return found
}

const PACKAGE =
  /^(?:(?:import|export|\}) .*?from |import )'([^.'\n][^'\n]*)'|\bimport\('([^.'\n][^'\n]*)'\)/gm

/**
 * Packages and modules of Node that a source imports, types and lazy imports included: 'node:net',
 * 'level'.
 */
export function packagesOf(source: Source): readonly string[] {
  const names = codeOf(source.text).matchAll(PACKAGE)
  return Array.from(names, ([, stated, lazy]) => (stated ?? lazy)!)
}
