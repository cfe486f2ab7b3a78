// The admin API, as the pages ask it. User and password are kept in memory alone.

export interface Page {
  readonly next?: string
  readonly total: number
}

export interface Topic {
  readonly name: string
  readonly kind: string
  readonly readQueues: number
  readonly writeQueues: number
  readonly permission: string
  readonly ordered: boolean
  readonly messages: number
  readonly stored: number
}

export interface QueueRange {
  readonly brokerName: string
  readonly queueId: number
  readonly minOffset: number
  readonly maxOffset: number
}

export interface Group {
  readonly name: string
  readonly retryTimesMax: number
  readonly lag: number
  readonly inFlight: number
  readonly members: number
}

export interface Member {
  readonly clientId: string
  readonly protocol: string
  readonly address: string
  readonly language: string
  readonly model: string
  readonly mode: string
  readonly topics: readonly string[]
}

export interface QueueLag extends QueueRange {
  readonly topic: string
  readonly committedOffset: number
  readonly inFlight: number
  readonly lag: number
}

/** A group with its members, and how far it is. */
export type DescribedGroup = Omit<Group, 'members'> & {
  readonly members: readonly Member[]
  readonly queues: readonly QueueLag[]
}

export interface Message {
  readonly messageId: string
  readonly offsetMessageId: string
  readonly topic: string
  readonly queueId: number
  readonly queueOffset: number
  readonly tag?: string
  readonly keys: readonly string[]
  readonly orderingKey?: string
  readonly properties: Readonly<Record<string, string>>
  readonly attempt: number
  readonly bornMs: number
  readonly storedMs: number
  readonly reason?: string
  readonly body?: string
  readonly bodyBase64?: string
  readonly bodyError?: string
  readonly bodyBytes: number
}

export interface Client {
  readonly clientId: string
  readonly connectionId: string
  readonly protocol: string
  readonly address: string
  readonly language: string
  readonly producerGroups: readonly string[]
  readonly consumers: readonly { readonly group: string; readonly topics: readonly string[] }[]
}

export interface Status {
  readonly clusterName: string
  readonly brokerName: string
  readonly writable: boolean
  readonly reason?: string
  readonly isRebuilding: boolean
  readonly startedAtMs: number
  readonly diskBytes: number
  readonly topics: number
  readonly groups: number
  readonly clients: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly pendingDelayed: number
}

export class ApiError extends Error {
  readonly status: number

  constructor(status: number, text: string) {
    super(text)
    this.status = status
  }
}

let authorization: string | undefined

export function logIn(user: string, password: string): void {
  const bytes = new TextEncoder().encode(`${user}:${password}`)
  authorization = `Basic ${btoa(String.fromCharCode(...bytes))}`
}

export function logOut(): void {
  authorization = undefined
}

type Query = Readonly<Record<string, string | number | undefined>>

export function get<T>(path: string, query: Query = {}): Promise<T> {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]))
  return call<T>('GET', given.length === 0 ? path : `${path}?${search}`)
}

export const send = <T>(
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
) => call<T>(method, path, body)

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = {}
  if (authorization !== undefined) headers['Authorization'] = authorization
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) }
  // Relative, so that a proxy may serve it below a path of its own.
  const response = await fetch(`api/v1/${path}`, init)
  if (response.status === 204) return undefined as T
  const answer = (await response.json()) as T & { readonly detail?: string }
  if (response.ok) return answer
  throw new ApiError(response.status, answer.detail ?? response.statusText)
}

export const part = encodeURIComponent
