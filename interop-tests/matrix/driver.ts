// What a client of the matrix is: it sends samples and reports what it receives, in its own words.
import type { Received, Sample } from './sample.ts'

export interface Addresses {
  readonly nameServer: string
  readonly mqtt: string
  readonly amqp: string
}

export interface Producing {
  /** Settles when the broker has acknowledged it; rejects when it may not have it. */
  send(sample: Sample): Promise<void>
  close(): Promise<void>
}

export interface Consuming {
  close(): Promise<void>
}

export interface ConsumeOptions {
  readonly topic: string
  /** undefined: broadcast, a copy of its own that survives a crash of the broker. */
  readonly group: string | undefined
  /** Unique; the same again after a reconnect. */
  readonly clientId: string
  received(message: Received): void
}

export interface Driver {
  openProducer(at: Addresses, topic: string): Promise<Producing>
  /** Settles when everything that is sent from now on will come. */
  openConsumer(at: Addresses, options: ConsumeOptions): Promise<Consuming>
}
