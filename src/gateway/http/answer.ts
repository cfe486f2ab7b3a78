// What a request is answered with.

export interface HttpAnswer {
  /** Default: 200. */
  readonly status?: number
  readonly type: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

export const json = (value: unknown, status = 200): HttpAnswer => ({
  status,
  type: 'application/json',
  body: `${JSON.stringify(value)}\n`,
})
