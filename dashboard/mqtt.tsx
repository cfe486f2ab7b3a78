// What MQTT keeps: sessions and retained messages.
import { useState } from 'preact/hooks'
import { get, type Page, part } from './api.js'
import { count, Field, Filters, Problem, Table, time, useLoaded, usePages } from './parts.js'

interface Session {
  readonly clientId: string
  readonly user?: string
  readonly isConnected: boolean
  readonly disconnectedMs?: number
  readonly inFlight: number
  readonly subscriptions: number
}

interface SubscribedSession extends Omit<Session, 'subscriptions'> {
  readonly subscriptions: readonly { readonly filter: string; readonly qos: number }[]
}

export function Mqtt() {
  const [contains, setContains] = useState('')
  const { value, error, pager } = usePages<{ sessions: readonly Session[] } & Page>(
    'mqtt/sessions',
    {
      contains,
    },
  )
  return (
    <section>
      <h1>MQTT sessions</h1>
      <Filters>
        <Field label="Client id contains" value={contains} onInput={setContains} />
      </Filters>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Sessions by client id"
            head={['Client id', 'State', 'User', 'Subscriptions', 'In flight', 'Away since (UTC)']}
            figures={[3, 4]}
            empty="There are no sessions."
            rows={value.sessions.map((session) => [
              <a key="id" href={`#/mqtt/${part(session.clientId)}`}>
                {session.clientId}
              </a>,
              session.isConnected ? 'connected' : 'away',
              session.user ?? '-',
              count(session.subscriptions),
              count(session.inFlight),
              time(session.disconnectedMs ?? 0),
            ])}
          />
          {pager}
        </>
      )}
      <Retained />
    </section>
  )
}

export function SessionPage({ clientId }: { readonly clientId: string }) {
  const path = `mqtt/sessions/${part(clientId)}`
  const { value, error } = useLoaded(() => get<SubscribedSession>(path), [path])
  return (
    <section>
      <h1>{clientId}</h1>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <p>{value.isConnected ? 'Connected' : `Away since ${time(value.disconnectedMs ?? 0)}`}</p>
          <Table
            caption="Subscriptions"
            head={['Filter', 'QoS']}
            figures={[1]}
            empty="It subscribes to nothing."
            rows={value.subscriptions.map(({ filter, qos }) => [filter, qos])}
          />
        </>
      )}
    </section>
  )
}

function Retained() {
  const [filter, setFilter] = useState('#')
  const [after, setAfter] = useState('')
  const { value, error } = useLoaded(
    () =>
      get<{ readonly names: readonly string[]; readonly next?: string }>('mqtt/retained', {
        ...{ filter, after },
      }),
    [filter, after],
    false,
  )
  return (
    <>
      <h2>Retained messages</h2>
      <Filters>
        <Field
          label="Filter"
          value={filter}
          onInput={(text) => {
            setFilter(text)
            setAfter('')
          }}
        />
        <button type="button" disabled={after === ''} onClick={() => setAfter('')}>
          First page
        </button>
        <button
          type="button"
          disabled={value?.next === undefined}
          onClick={() => setAfter(value!.next!)}
        >
          Next page
        </button>
      </Filters>
      <Problem error={error} />
      {value !== undefined && (
        <Table
          caption="Names with a retained message"
          head={['Topic name']}
          empty="No name that the filter selects has a retained message."
          rows={value.names.map((name) => [name])}
        />
      )}
    </>
  )
}
