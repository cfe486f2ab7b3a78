// What every page is made of.
import type { ComponentChildren } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, get, type Page } from './api.js'

const REFRESH_MS = 2000
/** Of one table: a group may have a place in 80,000 queues. */
const ROWS_MAX = 500

export interface Loaded<T> {
  readonly value: T | undefined
  readonly error: Error | undefined
  readonly again: () => void
}

/** Loads when `keys` change and then every two seconds while the page is seen. */
export function useLoaded<T>(
  load: () => Promise<T>,
  keys: readonly unknown[],
  isLive = true,
): Loaded<T> {
  const [state, setState] = useState<{ value?: T; error?: Error }>({})
  const latest = useRef(0)
  const again = useCallback(() => {
    const serial = ++latest.current
    load().then(
      (value) => serial === latest.current && setState({ value }),
      (error: Error) => serial === latest.current && setState((old) => ({ ...old, error })),
    )
    // The caller says what it depends on.
  }, [...keys])
  useEffect(() => {
    again()
    if (!isLive) return
    const timer = setInterval(() => document.visibilityState === 'visible' && again(), REFRESH_MS)
    return () => clearInterval(timer)
  }, [again, isLive])
  return { value: state.value, error: state.error, again }
}

/** A list page by page; with other filters it begins at its first page again. */
export function usePages<T extends Page>(path: string, filters: Readonly<Record<string, string>>) {
  const key = JSON.stringify(filters)
  const [turned, setTurned] = useState<{ key: string; after?: string }>({ key })
  const after = turned.key === key ? turned.after : undefined
  const loaded = useLoaded(() => get<T>(path, { ...filters, after }), [path, key, after])
  const pager = loaded.value && (
    <Pager
      total={loaded.value.total}
      next={loaded.value.next}
      isFirst={after === undefined}
      onNext={(next) => setTurned({ key, after: next })}
      onFirst={() => setTurned({ key })}
    />
  )
  return { ...loaded, pager }
}

export const count = (value: number): string => value.toLocaleString('en')

export const time = (ms: number): string =>
  ms > 0 ? new Date(ms).toISOString().replace('T', ' ').slice(0, 19) : '-'

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024
  return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`
}

export function Problem({ error }: { readonly error: Error | undefined }) {
  if (error === undefined) return null
  const isLogin = error instanceof ApiError && error.status === 401
  return (
    <p class="problem" role="alert">
      {error.message}
      {isLogin && ' Log in above.'}
    </p>
  )
}

interface TableProps {
  readonly caption: string
  readonly head: readonly string[]
  /** Columns of figures, from 0. */
  readonly figures?: readonly number[]
  readonly rows: readonly (readonly ComponentChildren[])[]
  readonly empty: string
}

export function Table({ caption, head, figures = [], rows, empty }: TableProps) {
  if (rows.length === 0) return <p class="empty">{empty}</p>
  const align = (column: number) => (figures.includes(column) ? 'figure' : undefined)
  return (
    <div class="scroll">
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {head.map((text, column) => (
              <th key={text} scope="col" class={align(column)}>
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, ROWS_MAX).map((row, at) => (
            <tr key={at}>
              {row.map((cell, column) => (
                <td key={column} class={align(column)}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > ROWS_MAX && (
        <p class="empty">
          These are the first {count(ROWS_MAX)} of {count(rows.length)}.
        </p>
      )}
    </div>
  )
}

interface PagerProps {
  readonly total: number
  readonly next: string | undefined
  readonly isFirst: boolean
  readonly onNext: (after: string) => void
  readonly onFirst: () => void
}

function Pager({ total, next, isFirst, onNext, onFirst }: PagerProps) {
  return (
    <p class="pager">
      <span>{count(total)} in all</span>
      <button type="button" disabled={isFirst} onClick={onFirst}>
        First page
      </button>
      <button type="button" disabled={next === undefined} onClick={() => onNext(next!)}>
        Next page
      </button>
    </p>
  )
}

/** Of a list: they hold as they are typed. */
export function Filters({ children }: { readonly children: ComponentChildren }) {
  return (
    <form class="row" onSubmit={(event) => event.preventDefault()}>
      {children}
    </form>
  )
}

interface ChoiceProps<C extends string> {
  readonly label: string
  readonly value: C
  /** By their names: what is shown for each. */
  readonly choices: Readonly<Record<C, string>>
  readonly onChange: (choice: C) => void
}

export function Choice<C extends string>({ label, value, choices, onChange }: ChoiceProps<C>) {
  return (
    <label>
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value as C)}>
        {Object.entries<string>(choices).map(([name, shown]) => (
          <option key={name} value={name}>
            {shown}
          </option>
        ))}
      </select>
    </label>
  )
}

interface FieldProps {
  readonly label: string
  readonly value: string
  readonly onInput: (value: string) => void
  readonly type?: 'text' | 'number' | 'password' | 'datetime-local'
  readonly required?: boolean
  readonly autoComplete?: string
}

export function Field({
  label,
  value,
  onInput,
  type = 'text',
  required,
  autoComplete,
}: FieldProps) {
  // The types of preact tell apart which roles each type of input may have.
  const typed = { type } as { type: 'text' }
  return (
    <label>
      <span>{label}</span>
      <input
        {...typed}
        value={value}
        required={required ?? false}
        autoComplete={autoComplete ?? 'off'}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  )
}
