// sidecast-echo.js: the connector, with the client, for pages without modules. It is made of the built files, whose
// properties have short names: in the sources, those of the browser have the same names as some of the core's.
import { SidecastConnector } from '../sidecast-echo.mjs'

globalThis.SidecastConnector = SidecastConnector
