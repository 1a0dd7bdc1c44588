// sidecast-echo.js: the connector, with the client, for pages without modules.
import { SidecastConnector } from './sidecast-echo.mjs'

globalThis.SidecastConnector = SidecastConnector
