// The walls between folders, as the tables of architecture.md state them.
import { textOf } from './sources.ts'

export interface Walls {
  /** Rows of the table of folders: 'store', 'gateway/mqtt', or one file, 'config'. */
  readonly rows: readonly string[]
  /** May the file have an import of that file of ours, package or module of Node? */
  mayImport(path: string, imported: string): boolean
}

const FILES = '| folder or file | may import |'
const PACKAGES = '| package | imported by |'
/** Files beside the folders that have no row of their own. */
const OTHERS = 'others'

export function wallsOf(page: string = textOf('docs/internals/architecture.md')): Walls {
  const grants = tableBehind(page, FILES)
  const owners = tableBehind(page, PACKAGES)
  const rows = [...grants.keys()]
  const rowOf = (path: string): string => {
    const name = nameOf(path)
    const own = rows.filter((row) => name === row || name.startsWith(`${row}/`))
    return own.sort((a, b) => b.length - a.length)[0] ?? (name.includes('/') ? '' : OTHERS)
  }
  const isNamed = (names: readonly string[], path: string): boolean => {
    const row = rowOf(path)
    return names.some((name) => name === row || matches(name, nameOf(path)))
  }
  const mayImportOurs = (path: string, imported: string): boolean => {
    const row = rowOf(path)
    const cell = grants.get(row) ?? []
    if (row !== OTHERS && row === rowOf(imported)) return true
    if (cell[0]?.startsWith('all but ')) {
      const [first, ...rest] = cell
      return !isNamed([first!.slice('all but '.length), ...rest], imported)
    }
    return isNamed(cell, imported)
  }
  return {
    rows,
    mayImport: (path, imported) => {
      if (imported.startsWith('src/')) return mayImportOurs(path, imported)
      const cell = owners.get(imported)
      if (cell !== undefined) return isNamed(cell, path)
      return imported.startsWith('node:')
    },
  }
}

/** 'src/gateway/mqtt/server.ts' is gateway/mqtt/server. */
const nameOf = (path: string): string => path.slice('src/'.length, -'.ts'.length)

/**
 * As in a shell: one star for a part of a path, two for the rest of it, and braces for one of
 * several.
 */
const matches = (pattern: string, name: string): boolean => {
  const text = pattern
    .replaceAll('{', '(')
    .replaceAll('}', ')')
    .replaceAll(',', '|')
    .replace(/\*+/g, (stars) => (stars.length > 1 ? '.+' : '[^/]+'))
  return new RegExp(`^${text}$`).test(name)
}

/** The first cell of each row, without its quotes, and the words of the second. */
function tableBehind(page: string, header: string): ReadonlyMap<string, readonly string[]> {
  const [, behind] = page.split(`${header}\n`)
  if (behind === undefined) throw new Error(`architecture.md has no table '${header}'`)
  const [table] = behind.split('\n\n')
  const cells = [...table!.matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)]
  return new Map(cells.map(([, name, cell]) => [name!, cell!.split(', ')]))
}
