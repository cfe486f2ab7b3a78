// The table of all commands. Each loads only when it runs, so that a short command starts fast.
import type { Entry } from './command.ts'

export const COMMANDS: Readonly<Record<string, Entry>> = {
  start: {
    summary: 'Run everything in one process: name server, broker and every front-end',
    load: async () => (await import('./start.ts')).start,
  },
  namesrv: {
    summary: 'Run a name server alone',
    load: async () => (await import('./start.ts')).namesrv,
  },
  broker: {
    summary: 'Run a broker with its front-ends, registered with name servers elsewhere',
    load: async () => (await import('./start.ts')).broker,
    below: {
      promote: {
        summary: 'Make a slave the master, by hand',
        load: async () => (await import('./operate/promote.ts')).promote,
      },
    },
  },
  gateway: {
    summary: 'Run the MQTT and AMQP front-ends before a cluster of RocketMQ brokers',
    load: async () => (await import('./start.ts')).gateway,
  },
  pub: {
    summary: 'Send a message',
    load: async () => (await import('./pub.ts')).pub,
  },
  sub: {
    summary: 'Show messages of a topic as they come',
    load: async () => (await import('./sub.ts')).sub,
  },
  topic: {
    summary: 'Topics',
    verbs: {
      create: {
        summary: 'Create a topic',
        load: async () => (await import('./topic.ts')).create,
      },
      list: {
        summary: 'List topics',
        load: async () => (await import('./topic.ts')).list,
      },
      describe: {
        summary: 'Show the queues of a topic and the groups that consume it',
        load: async () => (await import('./topic.ts')).describe,
      },
      delete: {
        summary: 'Delete a topic and its messages',
        load: async () => (await import('./topic.ts')).remove,
      },
    },
  },
  group: {
    summary: 'Consumer groups',
    verbs: {
      list: {
        summary: 'List consumer groups',
        load: async () => (await import('./group.ts')).list,
      },
      describe: {
        summary: 'Show the members of a group and how far it is behind in each queue',
        load: async () => (await import('./group.ts')).describe,
      },
    },
  },
  offset: {
    summary: 'Places of consumer groups',
    verbs: {
      reset: {
        summary: 'Move a group in a topic, members that are connected too',
        load: async () => (await import('./offset.ts')).reset,
      },
    },
  },
  dlq: {
    summary: 'Dead letters: messages that a group gave up',
    verbs: {
      list: {
        summary: 'List the dead letters of a group',
        load: async () => (await import('./dlq.ts')).list,
      },
      replay: {
        summary: 'Send dead letters to their topic again',
        load: async () => (await import('./dlq.ts')).replay,
      },
    },
  },
  message: {
    summary: 'Stored messages',
    verbs: {
      get: {
        summary: 'Find stored messages by id or by key',
        load: async () => (await import('./message.ts')).get,
      },
      trace: {
        summary: 'Show what clients told of a message: when it was sent and consumed',
        load: async () => (await import('./message-trace.ts')).trace,
      },
    },
  },
  status: {
    summary: 'Show the brokers of a cluster and their state',
    load: async () => (await import('./status.ts')).status,
  },
  top: {
    summary: 'Show the rates of a cluster and the lags of its groups, again and again',
    load: async () => (await import('./operate/top.ts')).top,
  },
  doctor: {
    summary: 'Look for what would keep a broker from running well on this machine',
    load: async () => (await import('./operate/doctor.ts')).doctor,
  },
  bench: {
    summary: 'Measure how many messages a broker takes and gives',
    load: async () => (await import('./operate/bench.ts')).bench,
  },
  backup: {
    summary: "Copy a broker's data while it runs",
    load: async () => (await import('./operate/backup.ts')).backup,
  },
  config: {
    summary: 'Show every setting, its value and where it came from',
    load: async () => (await import('./config.ts')).config,
  },
  completion: {
    summary: 'Print what completes commands and flags in a shell',
    load: async () => (await import('./help/completion.ts')).completion,
  },
  'hash-password': {
    summary: 'Make the text that stands for a password in the configuration',
    load: async () => (await import('./hash-password.ts')).hashPasswordCommand,
  },
}
