// Connected clients of all protocols.
import { useState } from 'preact/hooks'
import type { Client, Page } from './api.js'
import { Choice, Field, Filters, Problem, Table, usePages } from './parts.js'

const PROTOCOLS = { '': 'All', remoting: 'RocketMQ', mqtt: 'MQTT', amqp: 'AMQP 1.0' } as const

export function Clients() {
  const [contains, setContains] = useState('')
  const [protocol, setProtocol] = useState<keyof typeof PROTOCOLS>('')
  const { value, error, pager } = usePages<{ clients: readonly Client[] } & Page>('clients', {
    contains,
    protocol,
  })
  return (
    <section>
      <h1>Clients</h1>
      <Filters>
        <Field label="Id contains" value={contains} onInput={setContains} />
        <Choice label="Protocol" value={protocol} choices={PROTOCOLS} onChange={setProtocol} />
      </Filters>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Clients that produce or consume"
            head={['Client', 'Protocol', 'Address', 'Language', 'Consumes in', 'Produces as']}
            empty="No client is connected as a producer or consumer."
            rows={value.clients.map((client) => [
              client.clientId,
              PROTOCOLS[client.protocol as keyof typeof PROTOCOLS] ?? client.protocol,
              client.address,
              client.language || '-',
              client.consumers.map(({ group }) => group).join(', ') || '-',
              client.producerGroups.join(', ') || '-',
            ])}
          />
          {pager}
        </>
      )}
    </section>
  )
}
